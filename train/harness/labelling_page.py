"""The page on which people say which of two pictures looks better."""

from __future__ import annotations

TOKEN = "TOKEN-OF-THIS-RUN"
"""Stands for the token that the server gives the page."""

PAGE = (
  """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="token" content="TOKEN-OF-THIS-RUN">
<title>Which looks better?</title>
<style>
  body { margin: 0; background: #777; color: #fff; font: 16px system-ui, sans-serif;
    height: 100dvh; display: flex; flex-direction: column; }
  header, footer { padding: 10px 16px; display: flex; gap: 12px; align-items: center;
    justify-content: center; flex-wrap: wrap; }
  h1 { font-size: 18px; margin: 0; }
  main { flex: 1; min-height: 0; display: grid; gap: 12px; padding: 0 12px;
    grid-auto-rows: minmax(0, 1fr); }
  @media (min-aspect-ratio: 1) { main { grid-template-columns: 1fr 1fr; } }
  main button { border: 4px solid transparent; background: none; padding: 0;
    min-height: 0; min-width: 0; cursor: pointer; }
  main button:focus-visible, main button:hover { border-color: #fff; }
  img { width: 100%; height: 100%; object-fit: contain; }
  footer button { font: inherit; padding: 8px 14px; }
  footer button:disabled { opacity: 0.4; }
  kbd { background: #333; color: #fff; border-radius: 3px; padding: 1px 6px; }
  @media (hover: none) { kbd { display: none; } }
  main[hidden] { visibility: hidden; }
</style>
<header><h1>Which picture looks better?</h1><span id="count"></span></header>
<main id="pair" hidden>
  <button id="one"><img id="left" alt="First picture"></button>
  <button id="two"><img id="right" alt="Second picture"></button>
</main>
<footer>
  <button id="first"><kbd>1</kbd> first</button>
  <button id="tie"><kbd>space</kbd> equally good</button>
  <button id="second"><kbd>2</kbd> second</button>
  <button id="undo"><kbd>u</kbd> undo</button>
  <span id="said" role="status"></span>
</footer>
"""
  """<script>
const at = name => document.getElementById(name);
const token = document.querySelector("meta[name=token]").content;
let pair = null, busy = false;

function show(state) {
  pair = state.pair;
  at("count").textContent = state.done + " of " + state.count;
  at("pair").hidden = pair === null;
  for (const name of ["first", "tie", "second"]) at(name).disabled = pair === null;
  at("said").textContent = pair === null ? "All pairs have a vote. Thank you." : "";
  if (pair === null) return;
  at("left").src = "/picture/" + pair + "/0";
  at("right").src = "/picture/" + pair + "/1";
}

async function ask(path, body) {
  if (busy) return;
  busy = true;
  try {
    const how = body === undefined ? {} : {
      method: "POST", body: JSON.stringify(body),
      headers: {"Content-Type": "application/json", "X-Token": token},
    };
    const reply = await fetch(path, how);
    if (reply.ok) show(await reply.json());
    else at("said").textContent = await reply.text();
  } catch {
    at("said").textContent = "The program does not answer; start it again.";
  } finally { busy = false; }
}

const vote = value => { if (pair !== null) ask("/vote", {pair: pair, vote: value}); };
const undo = () => ask("/undo", {});
const keys = {"1": () => vote(1), "2": () => vote(0), " ": () => vote(0.5), "u": undo};
document.addEventListener("keydown", event => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!keys[event.key]) return;
  event.preventDefault();
  document.activeElement.blur(); // Or the space bar would also press that button.
  keys[event.key]();
});
for (const [name, act] of Object.entries({one: keys["1"], first: keys["1"],
    two: keys["2"], second: keys["2"], tie: keys[" "], undo: undo}))
  at(name).addEventListener("click", () => { document.activeElement.blur(); act(); });
for (const name of ["left", "right"])
  at(name).addEventListener("error", () => {
    at("said").textContent = "A picture cannot be shown; vote that they are equal.";
  });
ask("/state");
</script>
"""
)
