// Packages without types.
declare module "@cornerstonejs/codec-openjph";
declare module "@cornerstonejs/codec-libjxl";
