// Follows the jobs that are not done at Errands itself, and takes over the rows of this API's page that changed. Without
// this script a reload does the same.
const FOLLOWED_AT_ONCE = 4; // a browser opens six connections to one server
const EVERY_MS = 2000;
const CALLBACK_MS = 300;
const FOLLOWING_MS = 5000; // others may order as well

const list = document.getElementById("jobs");
const streams = new Map();
const STATES = { waiting: "Waiting to be sent", sent: "In progress", cancelled: "Cancelled", lost: "Lost" };

function words(job) {
  const { percent, text } = job.progress ?? {};
  const progress = [percent == null ? "" : `${Math.round(percent)} %`, text].filter(Boolean).join(", ");
  const failed = job.error ? `attempt ${job.attempt} failed: ${job.error}` : "";
  return [STATES[job.state] ?? "Done", progress, failed].filter(Boolean).join(" · ");
}

function show(id, job) {
  const line = document.getElementById(id)?.querySelector(".live");
  if (!line) return;
  line.textContent = words(job);
  line.hidden = false;
}

function unfollow(id) {
  streams.get(id)?.close();
  streams.delete(id);
}

function follow() {
  for (const id of streams.keys()) {
    if (!document.getElementById(id)?.dataset.stream) unfollow(id);
  }
  for (const row of list.querySelectorAll("li[data-stream]")) {
    if (streams.has(row.id) || streams.size >= FOLLOWED_AT_ONCE) continue;
    const stream = new EventSource(row.dataset.stream);
    streams.set(row.id, stream);
    stream.addEventListener("job", (event) => {
      const job = JSON.parse(event.data);
      show(row.id, job);
      if (job.ended_at) {
        stream.close();
        lookIn(CALLBACK_MS); // what this API made of it comes with its callback
      }
    });
  }
}

function isFollowed(row) {
  return streams.get(row.id)?.readyState === EventSource.OPEN;
}

const keyOf = (row) => row.id + row.dataset.version;

function takeOver(fresh) {
  const known = new Map([...list.children].map((row) => [keyOf(row), row]));
  const rows = [...fresh.getElementById("jobs").children];
  if (rows.map(keyOf).join() === [...known.keys()].join()) return;
  const focused = document.activeElement;
  list.replaceChildren(...rows.map((row) => known.get(keyOf(row)) ?? row));
  if (focused.isConnected && list.contains(focused)) focused.focus({ preventScroll: true });
  document.getElementById("summary").textContent = fresh.getElementById("summary").textContent;
}

let next;
function lookIn(ms) {
  clearTimeout(next);
  next = setTimeout(look, ms);
}

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/", { headers: { accept: "text/html" } });
      if (answer.ok) takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
      follow();
    } catch (error) {
      console.warn("The API does not answer; the next look may tell more.", error);
    }
  }
  const open = [...list.querySelectorAll("li.accepted")];
  lookIn(open.every(isFollowed) ? FOLLOWING_MS : EVERY_MS);
}

follow();
lookIn(EVERY_MS);
