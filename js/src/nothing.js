// Stands for modules of Node.js in bundles for browsers, whose code never runs there.
export default {};
