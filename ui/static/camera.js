// Asks the server about the camera's newest frame as soon as it has answered the last one: frames
// in between are dropped, and none waits. `element` is the component's, `server` its functions.
const SHORT_SIDE = 320; // pixels of a frame that is sent; the models see fewer
const SHORTEST = 1000 / 15; // milliseconds from frame to frame: faster looks no different
const FAILURES = 5; // in a row, before the camera is let go
const [video, button, chart, rate, spoken] = ["video", "button", ".answer", ".rate", ".spoken"].map(
  (name) => element.querySelector(name)
);
const canvas = document.createElement("canvas");
let stream = null;

const say = (sentence) => {
  chart.replaceChildren();
  const line = Object.assign(document.createElement("div"), { className: "problem", textContent: sentence });
  line.setAttribute("role", "alert");
  chart.append(line);
};

const stop = () => {
  stream?.getTracks().forEach((track) => track.stop());
  stream = video.srcObject = null;
  button.textContent = "Start the camera";
  rate.textContent = "";
};

const isSeen = () => !document.hidden && video.checkVisibility();

const frame = () => {
  const scale = Math.min(1, SHORT_SIDE / Math.min(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.85).split(",")[1];
};

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const run = async (mine) => {
  const text = (id) => document.querySelector(`#${id} textarea, #${id} input`)?.value ?? "";
  let times = [], failures = 0, best = "", spokenAt = 0;
  while (stream === mine) {
    if (!isSeen()) return stop();
    if (!video.videoWidth) { await pause(50); continue; }
    const sent = performance.now();
    let answer;
    try {
      answer = await server.answer_frame({
        image: frame(), labels: text("camera-labels"), asked: text("camera-asked"),
      });
      failures = 0;
    } catch {
      if (stream !== mine) return;
      if (++failures === FAILURES) {
        stop();
        return say("The server no longer answers: start the camera again.");
      }
      await pause(500 * failures);
      continue;
    }
    if (stream !== mine) return;
    if (answer.busy) { await pause(100); continue; }
    chart.innerHTML = answer.chart;
    const now = performance.now();
    times = [...times.filter((time) => now - time < 3000), now];
    const seconds = (now - times[0]) / 1000;
    rate.textContent = seconds > 0.5 && answer.model
      ? `${((times.length - 1) / seconds).toFixed(1)} answers a second, by the model “${answer.model}”.`
      : "";
    if (answer.best !== best && now - spokenAt > 3000) { // a reader of screens can't follow each frame
      [best, spokenAt] = [answer.best, now];
      spoken.textContent = best;
    }
    await pause(answer.wait ?? Math.max(0, SHORTEST - (performance.now() - sent)));
  }
};

const start = async () => {
  if (!navigator.mediaDevices?.getUserMedia) {
    return say("The browser lends the camera only to pages that come over https or from this machine.");
  }
  button.disabled = true;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, facingMode: { ideal: "environment" } },
    });
  } catch (error) {
    return say({
      NotAllowedError: "The camera was refused: allow it beside the page's address, then start again.",
      NotFoundError: "No camera was found: connect one, then start again.",
      NotReadableError: "The camera is in use by another program: close that, then start again.",
    }[error.name] ?? `The camera did not start (${error.name}).`);
  } finally {
    button.disabled = false;
  }
  const mine = stream;
  const [track] = mine.getVideoTracks();
  video.classList.toggle("mirrored", track.getSettings().facingMode !== "environment");
  track.addEventListener("ended", stop);
  video.srcObject = mine;
  await video.play().catch(() => {});
  button.textContent = "Stop the camera";
  run(mine);
};

button.addEventListener("click", () => (stream ? stop() : start()));
document.addEventListener("visibilitychange", () => document.hidden && stop());
// A tab that is left is only hidden: nothing tells, so it is looked at.
setInterval(() => stream && !isSeen() && stop(), 250);
