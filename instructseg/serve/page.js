// What the page does by itself: Ctrl+Enter segments, media have names, and masks follow a segmented video.
(() => {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    const shown = [...document.querySelectorAll(".segment")].find((button) => button.offsetParent !== null);
    if (shown) { event.preventDefault(); shown.click(); }
  });

  // gradio shows uploads and examples without a text: the name of the file is one.
  const nameMedia = () => {
    for (const shown of document.querySelectorAll("img, video")) {
      const text = shown instanceof HTMLImageElement ? "alt" : "aria-label";
      const own = shown.hasAttribute(text) && shown.getAttribute(text) !== "" && !shown.dataset.named;
      if (own || !shown.src.includes("/file=") || shown.dataset.named === shown.src) continue;
      shown.dataset.named = shown.src;
      shown.setAttribute(text, decodeURIComponent(shown.src.split("/").pop()));
    }
  };
  new MutationObserver(nameMedia).observe(document, {
    childList: true, subtree: true, attributes: true, attributeFilter: ["src"],
  });

  // Figures of instructseg/serve/player.py: every frame has a line of [number, presence, path].
  class Player {
    constructor(figure, frames) {
      this.figure = figure;
      this.frames = frames;
      this.fps = Number(figure.dataset.fps);
      this.threshold = Number(figure.dataset.presence);
      for (const part of ["video", "svg", ".play", ".seek", ".place"]) {
        this[part.replace(".", "")] = figure.querySelector(part);
      }
      this.play.onclick = () => (this.video.paused ? this.video.play() : this.video.pause());
      this.seek.oninput = () => {
        this.video.pause();
        this.video.currentTime = (Number(this.seek.value) + 0.5) / this.fps;
        this.draw(Number(this.seek.value));
      };
      for (const kind of ["play", "pause", "ended"]) this.video.addEventListener(kind, () => this.name());
      const follow = (_, { mediaTime }) => {
        if (!this.video.isConnected) return;
        this.draw(Math.round(mediaTime * this.fps));
        this.video.requestVideoFrameCallback(follow);
      };
      this.video.requestVideoFrameCallback(follow);
      this.count();
      this.draw(0);
    }

    name() { this.play.textContent = this.video.paused ? "Play" : "Pause"; }

    shows(mask) { return mask[1] >= this.threshold; }

    draw(place) {
      this.at = Math.min(Math.max(place, 0), this.frames.length - 1);
      const paths = (this.frames[this.at] ?? []).filter((mask) => this.shows(mask)).map(([number, presence, outline]) => {
        const { tint, name } = this.row(number).dataset;
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
        title.textContent = `${name} · presence ${presence.toFixed(2)}`;
        for (const [key, value] of Object.entries({
          class: `m${number}`, fill: tint, stroke: tint, "fill-rule": "evenodd", d: outline,
        })) path.setAttribute(key, value);
        path.append(title);
        return path;
      });
      this.svg.replaceChildren(...paths);
      this.seek.value = this.at;
      this.place.textContent = `${this.at + 1} of ${this.frames.length}`;
    }

    row(number) { return this.figure.querySelector(`li[data-number="${number}"]`); }

    // On how many frames each object is seen at this threshold.
    count() {
      for (const row of this.figure.querySelectorAll("li[data-number]")) {
        const number = Number(row.dataset.number);
        const some = this.frames.filter((masks) => masks.some((mask) => mask[0] === number && this.shows(mask)));
        row.querySelector(".seen").textContent =
          some.length ? `found in ${some.length} of ${this.frames.length} frames` : "nothing found";
      }
    }

    mark(threshold) {
      this.threshold = threshold;
      this.count();
      this.draw(this.at);
    }
  }

  const players = new WeakMap();
  // events of a video do not bubble, but they are seen on the way down
  document.addEventListener("loadeddata", async ({ target }) => {
    const figure = target.closest(".player");
    if (!figure || players.has(figure)) return;
    players.set(figure, null);
    const answer = await fetch(figure.dataset.outlines);
    if (!answer.ok) {
      figure.querySelector(".place").textContent = "the masks are no longer kept: segment the video again";
      return;
    }
    const lines = (await answer.text()).trimEnd().split("\n");
    players.set(figure, new Player(figure, lines.map((line) => JSON.parse(line))));
  }, true);

  document.addEventListener("error", ({ target }) => {
    const figure = target instanceof HTMLVideoElement && target.closest(".player");
    if (figure) figure.querySelector(".place").textContent = "this browser cannot play it: download the files";
  }, true);

  // called by the slider, without the server
  window.markPlayers = (threshold) => {
    for (const figure of document.querySelectorAll(".player")) {
      figure.dataset.presence = threshold;  // also of one that is still being loaded
      players.get(figure)?.mark(threshold);
    }
  };
})();
