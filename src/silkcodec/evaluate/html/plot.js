// Plots quality against rate, with a point and an interval for each codec. The plot uses the full width of the page.

const area = document.getElementById("plot-area");
if (area) {
  const result = JSON.parse(document.getElementById("result").textContent);
  const view = JSON.parse(document.getElementById("view").textContent);
  const xChoice = document.getElementById("plot-x");
  const yChoice = document.getElementById("plot-y");
  const across = { bits_per_second: "Bits per second", tokens_per_second: "Tokens per second" };
  const betterText = {
    higher: "higher is better",
    lower: "lower is better",
    zero: "closer to 0 is better",
    original: "closer to the original is better",
  };

  const element = (tag, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const points = () =>
    view.codecs.flatMap(({ name, color, family }) => {
      const entry = result.means[name]?.[yChoice.value];
      const x = result.codecs[name][xChoice.value];
      return x > 0 && entry?.mean != null ? [{ name, color, family, x, ...entry }] : [];
    });

  // Tick positions: 1, 2 and 5 times powers of ten on a logarithmic axis (rounds), equal steps on a linear axis (evens).
  const rounds = (low, high) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const digit of [1, 2, 5]) found.push(digit * 10 ** power);
    return found.filter((value) => value >= low && value <= high);
  };
  const evens = (low, high, count) => {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((digit) => digit * power >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
    return { step, found };
  };

  const draw = () => {
    area.replaceChildren();
    const shown = points();
    if (!shown.length) return;
    const metric = result.metrics[yChoice.value];
    const width = Math.max(280, area.clientWidth);
    const height = Math.round(Math.max(380, Math.min(480, 0.5 * width)));
    const box = { left: 52, right: width - 12, top: 30, bottom: height - 44 };

    const xs = shown.map((point) => point.x);
    // Space in pixels for a name to the right of the last point. The axis extends to both edges.
    const longest = 7.5 * Math.max(...shown.map((point) => point.name.length));
    const [before, after] = [24, 16 + Math.min(longest, 0.25 * (box.right - box.left))];
    const [least, most] = [Math.log(Math.min(...xs)), Math.log(Math.max(...xs))];
    const perPixel = (most - least || 1) / (box.right - box.left - before - after);
    const [x0, x1] = [least - before * perPixel, most + after * perPixel];
    const lows = Math.min(...shown.map((point) => point.low));
    const highs = Math.max(...shown.map((point) => point.high));
    const room = 0.12 * (highs - lows || 1);
    const [y0, y1] = [lows - room, highs + room];
    const atX = (x) => box.left + ((Math.log(x) - x0) / (x1 - x0)) * (box.right - box.left);
    const atY = (y) => box.bottom - ((y - y0) / (y1 - y0)) * (box.bottom - box.top);

    const label = `${metric.label}${metric.unit ? ", " + metric.unit : ""} (${betterText[metric.better]})`;
    const picture = element("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
    picture.setAttribute("aria-label", `${label} against ${across[xChoice.value]}. The numbers are in the results table.`);
    area.append(picture);

    const { step, found } = evens(y0, y1, height / 55);
    const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    for (const y of found) {
      picture.append(element("line", { class: "grid", x1: box.left, x2: box.right, y1: atY(y), y2: atY(y) }));
      const text = y.toFixed(decimals).replace("-", "\u2212").replace(/^\u2212(0\.?0*)$/, "$1");
      picture.append(element("text", { class: "tick end", x: box.left - 8, y: atY(y) + 4 }, text));
    }
    let last = -Infinity;
    for (const x of rounds(Math.exp(x0), Math.exp(x1))) {
      picture.append(element("line", { class: "grid", x1: atX(x), x2: atX(x), y1: box.top, y2: box.bottom }));
      if (atX(x) - last < 44 || atX(x) > width - 20) continue;
      last = atX(x);
      picture.append(element("text", { class: "tick middle", x: atX(x), y: box.bottom + 18 }, x.toLocaleString("en")));
    }
    picture.append(element("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
    picture.append(element("text", { class: "title", x: 0, y: 14 }, label));
    picture.append(
      element("text", { class: "title end", x: box.right, y: height - 6 }, `${across[xChoice.value]}, logarithmic`),
    );

    const obstacles = [];
    for (const family of new Set(shown.map((point) => point.family))) {
      const members = shown.filter((point) => point.family === family).sort((a, b) => a.x - b.x);
      if (members.length < 2) continue;
      const path = members.map((point) => `${atX(point.x)},${atY(point.mean)}`).join(" ");
      picture.append(element("polyline", { class: `family k${members[0].color}`, points: path }));
      for (let i = 1; i < members.length; i++)
        for (let t = 0; t <= 1; t += 0.1) {
          const x = atX(members[i - 1].x) * (1 - t) + atX(members[i].x) * t;
          const y = atY(members[i - 1].mean) * (1 - t) + atY(members[i].mean) * t;
          obstacles.push({ left: x - 2, right: x + 2, top: y - 2, bottom: y + 2, weight: 2 });
        }
    }
    for (const point of shown) {
      [point.px, point.py] = [atX(point.x), atY(point.mean)];
      const [top, bottom] = [atY(point.high), atY(point.low)];
      const mark = element("g", { class: `point k${point.color}` });
      mark.append(element("title", {}, tip(point, metric)));
      mark.append(element("line", { x1: point.px, x2: point.px, y1: top, y2: bottom }));
      for (const y of [top, bottom]) mark.append(element("line", { x1: point.px - 4, x2: point.px + 4, y1: y, y2: y }));
      mark.append(element("circle", { cx: point.px, cy: point.py, r: 5 }));
      picture.append(mark);
      obstacles.push({ left: point.px - 7, right: point.px + 7, top: point.py - 7, bottom: point.py + 7, weight: 60 });
      obstacles.push({ left: point.px - 5, right: point.px + 5, top: top - 1, bottom: bottom + 1, weight: 25 });
    }
    for (const point of [...shown].sort((a, b) => a.px - b.px)) name(picture, point, obstacles, box);
  };

  const tip = (point, metric) => {
    const digits = new Map(view.digits).get(yChoice.value);
    const [mean, low, high] = [point.mean, point.low, point.high].map((value) => value.toFixed(digits));
    const rate = `${point.x.toLocaleString("en", { maximumFractionDigits: 1 })} ${across[xChoice.value].toLowerCase()}`;
    return `${point.name}: ${metric.label} ${mean} [${low}, ${high}] at ${rate}`;
  };

  // Places a codec's name near its point, where the name and its leader line cover as little as possible.
  const directions = Array.from({ length: 16 }, (_, i) => [Math.cos((i * Math.PI) / 8), Math.sin((i * Math.PI) / 8)]);
  const name = (picture, point, obstacles, box) => {
    const text = element("text", { class: "name" }, point.name);
    picture.append(text);
    const [w, h] = [text.getComputedTextLength() + 6, 15]; // 3 pixels of space on either side
    let best = null;
    for (const distance of [8, 15, 24, 36, 50, 68, 90])
      for (const [dx, dy] of directions) {
        const side = Math.abs(dx) < 0.1 ? 0 : Math.sign(dx);
        const left = point.px + dx * distance + (side * w) / 2 - w / 2;
        const top = point.py + dy * (distance + h / 2) - h / 2;
        const place = { left, right: left + w, top, bottom: top + h, distance };
        place.leader = leader(point, place, dx, dy);
        const out = left < box.left || place.right > box.right || top < box.top || place.bottom > box.bottom;
        place.cost = (out ? 1000 : 0) + distance / 3;
        for (const obstacle of obstacles) {
          if (overlap(place, obstacle)) place.cost += obstacle.weight;
          if (place.leader && crosses(place.leader, obstacle)) place.cost += obstacle.weight / 2;
        }
        if (!best || place.cost < best.cost) best = place;
      }
    text.setAttribute("x", best.left + 3);
    text.setAttribute("y", best.bottom - 4);
    obstacles.push({ ...best, weight: 200 });
    if (best.leader) picture.insertBefore(element("line", { class: "leader", ...best.leader }), text);
  };

  const leader = (point, place, dx, dy) => {
    if (place.distance < 24) return null;
    const x2 = Math.max(place.left + 2, Math.min(place.right - 2, point.px));
    const y2 = Math.max(place.top + 2, Math.min(place.bottom - 2, point.py));
    return { x1: point.px + 8 * dx, y1: point.py + 8 * dy, x2, y2 };
  };

  const crosses = ({ x1, y1, x2, y2 }, { left, right, top, bottom }) =>
    [0.2, 0.4, 0.6, 0.8].some((t) => {
      const [x, y] = [x1 + t * (x2 - x1), y1 + t * (y2 - y1)];
      return x > left && x < right && y > top && y < bottom;
    });

  const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

  let drawn = 0;
  new ResizeObserver(() => {
    if (area.clientWidth === drawn) return;
    drawn = area.clientWidth;
    draw();
  }).observe(area);
  xChoice.addEventListener("change", draw);
  yChoice.addEventListener("change", draw);
}
