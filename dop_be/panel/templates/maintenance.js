// Shows times in the visitor's own zone, counts down to the end, and reloads when the service is back.
(() => {
  const main = document.querySelector("main");
  const original = main.outerHTML;
  const time = main.querySelector("time:not([data-local])");
  const countdown = main.querySelector("[role=timer]");
  const status = main.querySelector("[role=status]");
  const until = time ? Date.parse(time.dateTime) : NaN;
  const seconds = (from, to) => 1000 * (from + Math.random() * (to - from));

  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    const two = (number) => String(Math.floor(number)).padStart(2, "0");
    const days = Math.floor(left / 86400);
    countdown.textContent = `${days ? days + " d " : ""}${two((left % 86400) / 3600)}:${two((left % 3600) / 60)}:${two(left % 60)}`;
    countdown.hidden = left <= 0;
    if (left > 0) setTimeout(tick, 1000);
    else if (status) status.textContent = status.dataset.over;
  };

  const parts = { weekday: "long", day: "numeric", month: "long", hour: "numeric", minute: "2-digit", timeZoneName: "short" };
  const format = new Intl.DateTimeFormat(undefined, parts);
  for (const other of main.querySelectorAll("time[data-local]")) other.textContent = format.format(Date.parse(other.dateTime));
  if (until) {
    time.textContent = format.format(until);
    if (countdown) tick();
  }

  // Everybody's next look is drawn by lot, so that visitors do not come back as one.
  const wait = () => {
    const left = until - Date.now();
    setTimeout(look, left > 0 && left < 60000 ? left + seconds(1, 10) : seconds(30, 60));
  };
  const differs = (text) => {
    const found = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    return found !== null && found.outerHTML !== original;
  };
  const look = async () => {
    try {
      const answer = await fetch(location.href, { cache: "no-store", redirect: "manual", headers: { Accept: "text/html" } });
      if (answer.status < 500 || (answer.status === 503 && differs(await answer.text()))) return location.reload();
    } catch {
      // No network, or the service is just starting: look again.
    }
    wait();
  };
  if (main.dataset.mode === "full") wait(); // in read_only mode reading passes, and tells nothing
})();
