// What a person does with the page, in a browser: node browser.cjs PLAYWRIGHT CHROMIUM URL PHOTO
//
// Says "feed" on a line of its own twice, when the live feed is watched: somebody must be seen then, as tracks 6 and 7.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");

const [playwright, executablePath, url, photo] = process.argv.slice(2);
const { chromium } = require(playwright);
const TIMEOUT_MS = 20_000;

// Everything the browser complains of, and every request that leaves this server.
const complaints = [];
const watch = async (context) => {
  context.setDefaultTimeout(TIMEOUT_MS);
  context.on("page", (page) => {
    page.on("pageerror", (error) => complaints.push(`error: ${error}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complaints.push(`console: ${message.text()}`);
    });
  });
  context.on("request", (request) => {
    const to = request.url();
    if (!to.startsWith(url) && !to.startsWith("blob:")) complaints.push(`request: ${to}`);
  });
};

const notice = (page) => page.locator(".notice").innerText();
const heading = (page) => page.locator("h1").innerText();
const press = async (page, key) => {
  await page.keyboard.press(key);
};
// A key that sends a form: the page it leads to is another.
const send = async (page, key) => {
  await Promise.all([page.waitForNavigation(), page.keyboard.press(key)]);
};

const liveFeed = async (page) => {
  await page.goto(`${url}/`);
  await page.locator("#feed-state", { hasText: "Connected" }).waitFor();
  console.log("feed");
  const row = page.locator("#feed > #track-6");
  await row.waitFor();
  assert.match(await row.innerText(), /is seen on/);
  assert.equal(await page.locator("#feed > li").first().getAttribute("id"), "track-6");
  // What happens while nobody looks is there when somebody does.
  const look = (hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  };
  await page.evaluate(look, true);
  console.log("feed");
  await page.evaluate(look, false);
  await page.locator("#feed > #track-7").waitFor();
  assert.equal(await page.locator("#feed > #track-6").count(), 1);
};

const drop = async (page) => {
  await page.goto(`${url}/search`);
  const bytes = fs.readFileSync(photo).toString("base64");
  const files = await page.evaluateHandle((text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
    return files;
  }, bytes);
  await page.dispatchEvent("main", "dragover", { dataTransfer: files });
  await page.dispatchEvent("main", "drop", { dataTransfer: files });
  await page.locator("#answer h2", { hasText: "Person 2" }).waitFor();
  await page.locator("#answer h2", { hasText: "Nobody known" }).waitFor();
  assert.equal(await page.locator("#answer .query rect.used").count(), 2);
  const image = page.locator("#answer .query img");
  assert.ok(await image.evaluate((image) => image.decode().then(() => image.naturalWidth > 0)));
  // What is no picture is said to be none, and the last answer is gone.
  const nothing = { name: "a.jpg", mimeType: "image/jpeg", buffer: Buffer.from("nothing") };
  await page.setInputFiles("input[type=file]", nothing);
  await page.locator("#answer .trouble", { hasText: "IMAGE_UNREADABLE" }).waitFor();
  assert.equal(await page.locator("#answer h2").count(), 0);
};

const nameAndUndo = async (page) => {
  await page.goto(`${url}/people`);
  await press(page, "j");
  await press(page, "j");
  await press(page, "k");
  await press(page, "n");
  await page.keyboard.type("Ada");
  await send(page, "Enter");
  assert.match(await notice(page), /Person 1: name “Ada”/);
  await send(page, "u");
  assert.match(await notice(page), /was taken back/);
  assert.equal(await page.locator("#person-1 b").innerText(), "Person 1");
  await press(page, "j");
  await send(page, "Enter");
  assert.equal(await heading(page), "Person 1");
};

const mergeAndUndo = async (page) => {
  await page.goto(`${url}/people/2`);
  await press(page, "m");
  await page.keyboard.type("1");
  await send(page, "Enter");
  assert.equal(new URL(page.url()).pathname, "/people/1");
  assert.match(await notice(page), /Person 2 became a part of person 1/);
  await send(page, "u");
  await page.goto(`${url}/people/2`);
  assert.equal(await heading(page), "Person 2");
  // From the list, the key leads to the field.
  await page.goto(`${url}/people`);
  await press(page, "j");
  await Promise.all([page.waitForURL("**/people/1#merge"), page.keyboard.press("m")]);
  const at = await page.evaluate(() => document.activeElement.name);
  assert.equal(at, "into");
};

const review = async (page) => {
  await page.goto(`${url}/review`);
  await send(page, "m");
  assert.match(await notice(page), /Person 4 became a part of person 1/);
  await send(page, "u");
  await page.locator("#review-4").waitFor();
  // One candidate after the other.
  await send(page, "x");
  await page.locator("#review-4").waitFor();
  assert.match(await notice(page), /Person 4 and person 1 are two people/);
  await send(page, "x");
  await page.getByText("Nothing waits.").waitFor();
  assert.match(await notice(page), /Person 4 and person 3 are two people/);
  await send(page, "u");
  await page.locator("#review-4").waitFor();
  await press(page, "n");
  await page.keyboard.type("Eve");
  await press(page, "Escape");
  await press(page, "?");
  assert.ok(await page.locator("#keys").evaluate((keys) => keys.open));
};

// Ticked by key, split off under a name; sent to somebody else; and not this person, which holds until it is taken back.
const tracks = async (page) => {
  await page.goto(`${url}/people/1`);
  const ticked = () => page.locator("input[name=track]:checked").count();
  await press(page, "j");
  await press(page, "t");
  await press(page, "j");
  await press(page, " ");
  assert.equal(await ticked(), 2);
  await press(page, " ");
  assert.equal(await ticked(), 1);
  await press(page, "v");
  await press(page, "Escape");
  assert.equal(await page.evaluate(() => document.activeElement.id), "track-1");
  await press(page, "s");
  await page.keyboard.type("Eve");
  await send(page, "Enter");
  assert.match(await notice(page), /Track 4 of person 1 was split off as person \d+ “Eve”/);
  await send(page, "u");
  await press(page, "j");
  await press(page, "t");
  await press(page, "v");
  await page.keyboard.type("2");
  await send(page, "Enter");
  assert.match(await notice(page), /Track 4 of person 1 was moved to person 2/);
  await send(page, "u");
  await press(page, "j");
  await press(page, "t");
  await send(page, "x");
  assert.match(await notice(page), /Track 4 is not person 1/);
  await page.locator("#said", { hasText: "What people say" }).waitFor();
  await send(page, "u");
  assert.equal(await page.locator("#said").count(), 0);
  // Why it is theirs.
  await press(page, "j");
  await send(page, "Enter");
  assert.equal(await heading(page), "Track 4");
  await page.getByText("ABOVE_THRESHOLD").first().waitFor();
};

// Enter where no button is meant sends nothing.
const accident = async (page) => {
  await page.goto(`${url}/people/1`);
  await page.locator("input[name=track]").first().focus();
  const sent = [];
  page.on("request", (request) => sent.push(request.url()));
  await press(page, "Enter");
  // Long enough for a form to be on its way.
  await page.waitForTimeout(500);
  assert.deepEqual(sent, []);
  page.removeAllListeners("request");
  assert.equal(await heading(page), "Person 1");
};

const everyPage = async (page, look) => {
  for (const path of ["/", "/people", "/people/1", "/tracks/1", "/search", "/review", "/sources", "/author"]) {
    await page.goto(`${url}${path}`);
    await look(path);
  }
};

// Narrow as a phone, nothing is cut off; and every field says what it is for.
const narrow = async (page) => {
  await page.setViewportSize({ width: 360, height: 640 });
  await everyPage(page, async (path) => {
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${path} is ${width} wide`);
    const mute = await page.evaluate(() => {
      const fields = [...document.querySelectorAll("input:not([type=hidden]), select, textarea")];
      const spoken = (field) => field.labels.length > 0 || field.ariaLabel;
      return fields.filter((field) => !spoken(field)).map((field) => field.outerHTML);
    });
    assert.deepEqual(mute, [], path);
  });
};

const withoutScript = async (browser) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  await watch(context);
  const page = await context.newPage();
  await everyPage(page, async (path) => assert.ok(await page.locator("h1").isVisible(), path));
  await page.goto(`${url}/search`);
  await page.setInputFiles("input[type=file]", photo);
  await Promise.all([page.waitForNavigation(), page.click("form button")]);
  assert.equal(await page.locator("#answer h2").count(), 2);
  await page.goto(`${url}/people/1`);
  await page.fill("input[name=name]", "Ada");
  await Promise.all([page.waitForNavigation(), page.getByText("Save", { exact: true }).click()]);
  assert.equal(await heading(page), "Ada");
  await context.close();
};

const main = async () => {
  // Root has no sandbox.
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({ executablePath, args });
  const context = await browser.newContext();
  await watch(context);
  const page = await context.newPage();
  for (const step of [liveFeed, nameAndUndo, mergeAndUndo, tracks, accident, review, narrow]) await step(page);
  assert.deepEqual(complaints, []);
  await drop(page);
  // The refusal that it provokes is said on the console as well.
  assert.deepEqual(complaints.filter((line) => !line.includes("status of 400")), []);
  complaints.length = 0;
  await withoutScript(browser);
  assert.deepEqual(complaints, []);
  await browser.close();
};

main().catch((error) => {
  console.error(error, complaints);
  process.exit(1);
});
