// Live figures: asks each two seconds while the page is to be seen.  The page is whole without it.
"use strict";
(() => {
  const box = document.getElementById("live");
  if (!box) return;
  const MOST = 60, UNITS = ["B", "kB", "MB", "GB", "TB"];
  const speeds = { received: [], sent: [] };
  let before = null, timer = 0;

  const size = (count) => {
    let unit = 0;
    while (count >= 999.5 && unit < UNITS.length - 1) { count /= 1000; unit += 1; }
    return `${Number(count.toPrecision(3))}${UNITS[unit]}`;
  };
  const say = (name, words) => { box.querySelector(`[data-live="${name}"]`).textContent = words; };

  const draw = (most) => {
    for (const [name, list] of Object.entries(speeds)) {
      const points = list.map((one, place) =>
        `${(1000 * (place + MOST - list.length) / (MOST - 1)).toFixed(1)},${(980 - 940 * one / most).toFixed(1)}`);
      box.querySelector(`.curve.${name}`).setAttribute("points", points.join(" "));
    }
  };

  const show = (now) => {
    const seconds = before ? (now.at - before.at) / 1000 : 0;
    say("uploads", String(now.uploads));
    if (seconds > 0 && now.requests >= before.requests) {
      for (const name of ["received", "sent"]) {
        const speed = Math.max(0, now[name] - before[name]) / seconds;
        speeds[name].push(speed);
        if (speeds[name].length > MOST) speeds[name].shift();
        say(name, `${size(speed)}/s`);
      }
      say("requests", `${((now.requests - before.requests) / seconds).toFixed(1)}/s`);
      const most = Math.max(1, ...speeds.received, ...speeds.sent);
      say("most", `${size(most)}/s`);
      draw(most);
    }
    before = now;
  };

  const ask = async () => {
    try {
      const answer = await fetch("/-/live.json", { cache: "no-store", credentials: "same-origin" });
      if (answer.ok) show({ ...await answer.json(), at: performance.now() });
    } catch { before = null; }  // the server is away: begin again when it is back
    schedule();
  };
  const schedule = () => { clearTimeout(timer); if (!document.hidden) timer = setTimeout(ask, 2000); };

  document.addEventListener("visibilitychange", () => { before = null; schedule(); });
  box.classList.add("running");
  ask();
})();
