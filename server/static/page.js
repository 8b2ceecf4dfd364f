// What the pages do beyond links and forms: the keyboard, the live feed, photos that are dropped. Without it all else works.
"use strict";

// Times, in the reader's own.
const localise = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (!Number.isNaN(date.getTime())) time.textContent = date.toLocaleString();
  }
};
localise(document);

// A page that the browser kept has forms that were sent already.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// The keyboard. Elements say by data-key which key they are for; those of the item that has the focus come first.
const items = () => [...document.querySelectorAll("[data-item]")];
const current = () => document.activeElement?.closest("[data-item]");
// The last one that had the focus: after a field outside of it, the keys go on from there.
let last;

const select = (item) => {
  last = item ?? last;
  item?.focus({ preventScroll: true });
  item?.scrollIntoView({ block: "nearest" });
};

const move = (by) => {
  const all = items();
  const at = all.indexOf(current() ?? last);
  select(all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)]);
};

const forKey = (key) => {
  const all = [...document.querySelectorAll("[data-key]")].filter((e) => e.dataset.key === key);
  const item = current();
  return all.find((e) => item?.contains(e)) ?? all.find((e) => !e.closest("[data-item]"));
};

const use = (element) => {
  if (!element.matches("input:not([type=file], [type=checkbox]), textarea")) return element.click();
  for (let at = element.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
  element.focus();
  element.select();
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  const typing = event.target.matches?.("input:not([type=file], [type=checkbox]), textarea, select");
  if (event.key === "Escape" && event.target.matches("input, textarea, select")) {
    const item = current() ?? last;
    event.target.blur();
    select(item);
  }
  // A form with several buttons: a field says which one Enter is for.
  if (typing && event.key === "Enter" && event.target.dataset.enter) {
    event.preventDefault();
    document.getElementById(event.target.dataset.enter).click();
  }
  if (typing) return;
  // On a link or a button the browser knows best.
  if (["Enter", " "].includes(event.key) && event.target.matches?.("a, button, summary, input")) return;
  const element = forKey(event.key === " " ? "t" : event.key);
  if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
  else if (element) use(element);
  else return;
  event.preventDefault();
});

// What waits first is what the keys are for.
if (document.querySelector(".pairs") && !location.hash) select(items()[0]);

// The live feed. The browser connects again by itself, with the cursor of the last event.
const ROWS_MAX = 100;
const feed = document.getElementById("feed");
if (feed) {
  const state = document.getElementById("feed-state");
  const say = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };
  let cursor = feed.dataset.after;
  let events;

  const connect = () => {
    events = new EventSource(`/events?after=${encodeURIComponent(cursor)}`);
    events.addEventListener("open", () => say("Connected: what happens is shown at once."));
    events.addEventListener("error", () => {
      const over = events.readyState === EventSource.CLOSED;
      say("The server is away; trying again.");
      // A server that is just starting refuses, and browsers give up then.
      if (over) setTimeout(connect, 5000);
    });
    for (const kind of ["beat", "gap", "row"]) {
      events.addEventListener(kind, (event) => (cursor = event.lastEventId));
    }
    events.addEventListener("gap", () => say("Something is missing here: load the page again."));
    events.addEventListener("row", (event) => show(event.data));
  };

  const show = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    localise(template.content);
    const row = template.content.firstElementChild;
    const old = document.getElementById(row.id);
    const focused = old?.contains(document.activeElement);
    old?.remove();
    feed.prepend(row);
    if (focused) select(row);
    while (feed.children.length > ROWS_MAX) feed.lastElementChild.remove();
  };

  connect();
  // Browsers open few connections to one server: pages that nobody sees give theirs back.
  document.addEventListener("visibilitychange", () => {
    events.close();
    if (!document.hidden) connect();
  });
}

// A photo, dropped, pasted or chosen, is looked up at once; the answer takes the place of the last one.
const form = document.getElementById("photo");
if (form) {
  const state = document.getElementById("photo-state");
  const input = form.elements.photo;
  let shown = "";
  let asked = 0;

  const search = async (file) => {
    const number = ++asked;
    if (file.size > Number(form.dataset.bytesMax)) {
      state.textContent = "That is too large a file: scale it down.";
      return;
    }
    state.textContent = "Looking…";
    const body = new FormData();
    body.append("csrf", form.elements.csrf.value);
    body.append("photo", file);
    try {
      const response = await fetch(form.action, { method: "POST", body });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      if (number !== asked) return;
      const answer = page.getElementById("answer") ?? page.querySelector(".trouble");
      localise(answer);
      document.getElementById("answer").replaceChildren(...(answer.id ? answer.childNodes : [answer]));
      show(file);
      state.textContent = "";
    } catch {
      if (number === asked) state.textContent = "The server did not answer: try again.";
    }
  };

  const show = (file) => {
    URL.revokeObjectURL(shown);
    const image = document.createElement("img");
    image.alt = "The photo";
    image.src = shown = URL.createObjectURL(file);
    document.querySelector("#answer .query")?.prepend(image);
  };

  const take = (files) => {
    const file = [...files].find((file) => file.type.startsWith("image/")) ?? files[0];
    if (file) search(file);
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    take(input.files);
  });
  input.addEventListener("change", () => take(input.files));
  addEventListener("paste", (event) => take(event.clipboardData.files));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  addEventListener("dragleave", () => form.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    take(event.dataTransfer.files);
  });
}
