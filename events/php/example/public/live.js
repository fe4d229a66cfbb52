// Fetches the page every two seconds and takes over the rows that changed; without this script a reload does the same.
const EVERY_MS = 2000;
const keyOf = (row) => row.id + row.dataset.version;

function takeOver(fresh) {
  const list = document.getElementById("jobs");
  const known = new Map([...list.children].map((row) => [keyOf(row), row]));
  const rows = [...fresh.getElementById("jobs").children];
  if (rows.map(keyOf).join() === [...known.keys()].join()) return;
  const focused = document.activeElement;
  list.replaceChildren(...rows.map((row) => known.get(keyOf(row)) ?? row));
  if (focused.isConnected && list.contains(focused)) focused.focus({ preventScroll: true });
  document.getElementById("summary").textContent = fresh.getElementById("summary").textContent;
}

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/", { headers: { accept: "text/html" } });
      if (answer.ok) takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch (error) {
      console.warn("The API does not answer; the next look may tell more.", error);
    }
  }
  setTimeout(look, EVERY_MS);
}

setTimeout(look, EVERY_MS);
