// Drops photos on the search page, one after the other: node drop.cjs PLAYWRIGHT CHROMIUM URL PHOTO...
//
// A line of JSON for each: milliseconds from the drop to the frame that shows the answer, and what it says.
"use strict";

const fs = require("node:fs");

const [playwright, executablePath, url, ...photos] = process.argv.slice(2);
const { chromium } = require(playwright);

// In the page, so that nothing but the page is timed.
const drop = async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
  const answer = document.getElementById("answer");
  answer.replaceChildren();
  const shown = new Promise((resolve) => {
    new MutationObserver((_, observer) => {
      if (!answer.querySelector("h2, .trouble")) return;
      observer.disconnect();
      // The frame after the one that is being made.
      requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())));
    }).observe(answer, { childList: true, subtree: true });
  });
  const begun = performance.now();
  document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
  return { ms: (await shown) - begun, said: answer.innerText };
};

const main = async () => {
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({ executablePath, args });
  const page = await browser.newPage();
  await page.goto(`${url}/search`);
  for (const photo of photos) {
    const answer = await page.evaluate(drop, fs.readFileSync(photo).toString("base64"));
    console.log(JSON.stringify({ photo, ...answer }));
  }
  await browser.close();
};

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
