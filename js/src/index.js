// The face of the package: what `import … from "dicube"` gives.

export { Cube, open } from "./cube.js";
export { DicubeError } from "./errors.js";
export { Metadata } from "./metadata.js";
export { Workers } from "./workers.js";

/**
 * @typedef {import("./cube.js").OpenOptions} OpenOptions
 * @typedef {import("./cube.js").Pixels} Pixels
 * @typedef {import("./cube.js").Space} Space
 * @typedef {import("./errors.js").ErrorCode} ErrorCode
 * @typedef {import("./real_values.js").PixelHeader} PixelHeader
 * @typedef {import("./real_values.js").Rescale} Rescale
 * @typedef {import("./samples.js").Dtype} Dtype
 * @typedef {import("./samples.js").Samples} Samples
 * @typedef {import("./source.js").SourceOptions} SourceOptions
 */
