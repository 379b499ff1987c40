// Makes a picture of a page in Chromium; docs/screenshots.py calls this.
//
//     node screenshot.mjs page|ohif URL PATH CHROMIUM

import { createRequire } from "node:module";

const { chromium } = createRequire(new URL("../js/package.json", import.meta.url))("playwright-core");
const [name, url, path, executablePath] = process.argv.slice(2);

// Whether the images are complete.
const SHOWN = {
  page: () => document.body.dataset.level === "0",
  ohif: () => (window.cornerstone?.getRenderingEngines?.() ?? [])
    .flatMap((engine) => engine.getViewports())
    .some((viewport) => viewport.getCornerstoneImage?.()),
};

const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 700 }, colorScheme: "dark" });
  page.setDefaultTimeout(120_000);
  await page.goto(url);
  await page.waitForFunction(SHOWN[name]);
  if (name === "ohif") {
    const tour = page.getByText("Skip all"); // of a first visit
    await tour.waitFor({ timeout: 10_000 }).then(() => tour.click(), () => {});
    await page.evaluate(() => {
      const viewport = window.cornerstone.getRenderingEngines()
        .flatMap((engine) => engine.getViewports())
        .find((one) => one.getCornerstoneImage?.());
      return viewport.setImageIdIndex(viewport.getImageIds().length >> 1);
    });
  }
  await page.waitForTimeout(3000); // until all is drawn
  await page.screenshot({ path });
} finally {
  await browser.close();
}
