// The viewer page in Chromium: a file by `?url=`, its values, keys and messages.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { open } from "../../js/src/index.js";
import { CHROMIUM, FLAGS } from "./chromium.mjs";
import { golden } from "./files.mjs";
import { serve } from "./server.mjs";

const PAGE = new URL("../../js/dist/page/", import.meta.url);
const skip = CHROMIUM === undefined ? "needs chromium" : !existsSync(PAGE) ? "needs `npm run build` in js/" : false;

const SLOW = { timeout: 60_000 }; // WebGL without a graphics card

describe("the page", { skip }, () => {
  let browser, page, site, profile;
  const errors = [];

  before(async () => {
    const { chromium } = createRequire(new URL("../../js/package.json", import.meta.url))("playwright-core");
    const files = {};
    for (const name of readdirSync(PAGE)) files[`/${name}`] = readFileSync(new URL(name, PAGE));
    for (const name of ["levels.dcbs", "copies.dcbs", "int32x1.dcbs", "without_frames.dcba"]) files[`/${name}`] = golden(name);
    site = await serve(files);
    profile = mkdtempSync(join(tmpdir(), "dicube-chromium-"));
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      headless: true,
      viewport: { width: 640, height: 480 },
      args: [...FLAGS, "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
    });
    page = await browser.newPage();
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  });

  after(async () => {
    await browser?.close();
    await site?.close();
    if (profile) rmSync(profile, { recursive: true, force: true });
    assert.deepEqual(errors, []);
  });

  const text = (id) => page.locator(`#${id}`).textContent();
  const show = async (name) => {
    await page.goto(`${site.url}/index.html?url=${name}`);
    const isShown = () => document.body.dataset.level === "0" || !document.getElementById("message").hidden;
    await page.waitForFunction(isShown, null, SLOW);
  };

  test("without a file it says what to do", async () => {
    await page.goto(`${site.url}/index.html`);
    const says = () => document.getElementById("text").textContent.includes("Open a dicube file");
    await page.waitForFunction(says, null, SLOW);
  });

  test("a series: panel, window, values under the pointer, slices by keys", async () => {
    await show("copies.dcbs");
    const cube = await open(golden("copies.dcbs"), { workers: false });
    assert.ok((await text("title")).length > 0);
    const panel = await text("panel");
    assert.ok(panel.includes(cube.get("Modality")) && panel.includes("consistent") && panel.includes("HTJ2K"), panel);
    assert.equal(await page.locator("aside").isVisible(), false); // on a narrow screen
    await page.keyboard.press("p");
    assert.equal(await page.locator("aside").isVisible(), true);
    await page.keyboard.press("p");
    await page.keyboard.press("2"); // axial
    assert.equal(await page.locator("[data-layout=axial]").getAttribute("aria-pressed"), "true");
    const box = await page.locator("canvas").boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    const [, column, row, slice] = /column (\d+), row (\d+), slice (\d+) of 3/.exec(await text("slice"));
    const frame = await cube.frame(Number(slice) - 1);
    const value = frame.data[Number(row) * 5 + Number(column)] - 1024;
    assert.equal((await text("value")).trim(), `${Number(value.toPrecision(5))} HU`);
    assert.match(await text("place"), /^[LR] \d+\.\d  [PA] \d+\.\d  [IS] \d+\.\d mm$/);
    await page.keyboard.press("End");
    const at = async () => Number(/slice (\d+)/.exec(await text("slice"))[1]);
    const last = await at();
    await page.keyboard.press("ArrowUp");
    assert.equal(Math.abs((await at()) - last), 1);
  });

  test("windows: chosen, by dragging, and as at first", async () => {
    const windowOf = async () => /C (\S+) {2}W (\S+)/.exec(await text("window")).slice(1).map(Number);
    const first = await windowOf();
    await page.locator("#presets").selectOption({ label: "Lung (-600/1500)" });
    assert.deepEqual(await windowOf(), [-600, 1500]);
    await page.keyboard.press("w");
    const box = await page.locator("canvas").boundingBox(), x = box.x + box.width / 2, y = box.y + box.height / 2;
    await page.mouse.move(x, y);
    await page.mouse.down();
    await page.mouse.move(x + 40, y + 20, { steps: 4 });
    await page.mouse.up();
    const [center, width] = await windowOf();
    assert.ok(center < -600 && width > 1500, `${center} ${width}`);
    await page.mouse.down({ button: "right" });
    await page.mouse.move(x, y, { steps: 2 });
    await page.mouse.up({ button: "right" });
    assert.ok((await windowOf())[1] < width);
    await page.locator("#presets").selectOption("full");
    const full = await windowOf();
    await page.keyboard.press("r");
    assert.deepEqual(await windowOf(), first);
    assert.notDeepEqual(full, first);
  });

  test("light and dark, and the list of keys", async () => {
    const back = () => page.evaluate("getComputedStyle(document.body).backgroundColor");
    const before = await back();
    await page.keyboard.press("d");
    assert.notEqual(await back(), before);
    await page.keyboard.press("?");
    assert.ok((await text("bindings")).includes("drag measures a distance"));
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#keys").isVisible(), false);
  });

  test("images are drawn", async () => {
    await show("levels.dcbs");
    await page.keyboard.press("2");
    await page.waitForTimeout(500);
    const picture = await page.locator("canvas").screenshot(SLOW);
    assert.ok(picture.length > 5000, `${picture.length} bytes of PNG`);
  });

  test("what can't be shown is said", async () => {
    await show("int32x1.dcbs");
    assert.match(await text("text"), /can't be decoded here/);
    await show("without_frames.dcba");
    assert.match(await text("text"), /no images/);
    await show("none.dcbs");
    assert.match(await text("text"), /no such file/);
    errors.length = 0; // the browser reports the request, too
  });
});
