// Drives OHIF in Chromium: the study list, a study opened, and what a viewport shows.
//
//     node ohif.mjs URL CHROMIUM SCREENSHOTS STUDY_UID PATIENT_NAME
//
// Prints one line of JSON. Finds playwright-core by NODE_PATH, as ES modules don't.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const { chromium } = require(join(process.env.NODE_PATH, 'playwright-core'));
const [url, executablePath, screenshots, study, patient] = process.argv.slice(2);
const SIDE = 12; // of the square of image pixels that is compared

const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: [
    '--no-sandbox',
    '--use-angle=swiftshader',
    '--enable-unsafe-swiftshader',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
const found = { requests: [], errors: [] };
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(120_000);
  page.on('pageerror', error => found.errors.push(String(error)));
  page.on('response', async response => {
    const path = response.url().replace(url, '');
    if (path.startsWith('/dicom-web')) {
      found.requests.push([response.status(), path.split('?')[0], response.headers()['content-type']]);
    } else if (!response.url().startsWith(url) && response.url().startsWith('http')) {
      found.errors.push(`asked for ${response.url()}`);
    }
  });

  await page.goto(url);
  await page.getByText(patient).first().waitFor();
  found.list = await page.locator('body').innerText();
  await page.screenshot({ path: join(screenshots, 'study_list.png') });

  await page.goto(`${url}/viewer?StudyInstanceUIDs=${study}`);
  await page.waitForFunction(() => {
    const engines = window.cornerstone?.getRenderingEngines?.() ?? [];
    return engines.flatMap(engine => engine.getViewports()).some(one => one.getImageIds?.().length
      && one.getCornerstoneImage?.());
  });
  const tour = page.getByText('Skip all'); // of a first visit
  await tour.waitFor({ timeout: 5000 }).then(() => tour.click(), () => {});
  await page.evaluate(async () => {
    const viewport = window.cornerstone.getRenderingEngines()
      .flatMap(engine => engine.getViewports())
      .find(one => one.getCornerstoneImage?.());
    await viewport.setImageIdIndex(viewport.getImageIds().length >> 1);
  });
  await page.waitForTimeout(2000); // until thumbnails and overlays are drawn
  await page.screenshot({ path: join(screenshots, 'viewer.png') });

  // One pixel of the image becomes a square of some pixels of the canvas, none of which is mixed.
  const shown = await page.evaluate(async side => {
    const { cornerstone } = window;
    const viewport = cornerstone.getRenderingEngines()
      .flatMap(engine => engine.getViewports())
      .find(one => one.getCornerstoneImage?.());
    viewport.setProperties({ interpolationType: cornerstone.Enums.InterpolationType.NEAREST });
    viewport.setZoom(viewport.getZoom() * 4);
    viewport.render();
    await new Promise(resolve => setTimeout(resolve, 1500));
    const image = viewport.getCornerstoneImage();
    const { imageData, dimensions } = viewport.getImageData();
    const context = viewport.canvas.getContext('2d');
    const scale = viewport.canvas.width / viewport.canvas.clientWidth;
    const [columns, rows] = dimensions;
    const region = [];
    for (let row = (rows - side) >> 1; row < (rows + side) >> 1; row += 1) {
      for (let column = (columns - side) >> 1; column < (columns + side) >> 1; column += 1) {
        const [x, y] = viewport.worldToCanvas(imageData.indexToWorld([column, row, 0]));
        const pixel = context.getImageData(Math.round(x * scale), Math.round(y * scale), 1, 1).data;
        region.push([row, column, pixel[0], pixel[1], pixel[2]]);
      }
    }
    const { lower, upper } = viewport.getProperties().voiRange;
    return {
      region, lower, upper, columns, rows,
      index: viewport.getCurrentImageIdIndex(),
      imageId: viewport.getCurrentImageId(),
      pixels: Array.from(image.getPixelData()),
      images: viewport.getImageIds().length,
      cpu: cornerstone.getShouldUseCPURendering(),
    };
  }, SIDE);
  await page.screenshot({ path: join(screenshots, 'zoomed.png') });
  Object.assign(found, shown);
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
