// Arithmetic that the demo leaves to Python: random numbers, quantiles, paths, resizing, and how a drawing is framed.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { site } = vk;

  // Numbers from a seed: evenly between 0 and 1, and of a standard normal distribution.
  site.Random = class {
    constructor(seed) {
      this.state = seed >>> 0;
    }

    even() {
      this.state = (this.state + 0x6d2b79f5) >>> 0;
      let t = this.state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    }

    below(n) {
      return Math.floor(this.even() * n);
    }

    normal() {
      return Math.sqrt(-2 * Math.log(1 - this.even())) * Math.cos(2 * Math.PI * this.even());
    }
  };

  // Deals numbers below n by class, where they have any: none again before all have been had; of a class without any, all.
  site.dealer = (n, classes, random) => {
    const all = [...Array(n).keys()];
    const left = new Map();
    return (label) => {
      if (!left.get(label)?.length) {
        const own = classes ? all.filter((i) => classes[i] === label) : [];
        left.set(label, own.length ? own : [...all]);
      }
      const numbers = left.get(label);
      return numbers.splice(random.below(numbers.length), 1)[0];
    };
  };

  site.quantile = (sorted, share) => {
    const at = share * (sorted.length - 1);
    const low = Math.floor(at);
    return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
  };

  // The inverse CDF of a standard normal distribution, to some thousandths.
  site.normalQuantile = (share) => {
    const x = 2 * share - 1;
    const log = Math.log(1 - x * x);
    const half = 2 / (Math.PI * 0.147) + log / 2;
    return Math.sign(x) * Math.sqrt(2 * (Math.sqrt(half * half - log / 0.147) - half));
  };

  site.even = (low, high, steps) => Array.from({ length: steps }, (_, k) => low + ((high - low) * k) / (steps - 1));

  // Codes on the way from one to another: the arc or the straight line that vaekit.paths goes.
  site.path = (info, a, b, steps) => {
    const { blocks, size } = info.latent;
    const [p, q] = [Math.hypot(...a), Math.hypot(...b)];
    const root = blocks.length === 1 && info.latent.whole;
    const curved = root && (blocks[0].support === "sphere" || (blocks[0].support === "real" && size > 3));
    const shares = site.even(0, 1, steps);
    if (!curved || Math.min(p, q) < 1e-6) return shares.map((t) => a.map((value, i) => value + t * (b[i] - value)));
    const along = arc(
      a.map((value) => value / p),
      b.map((value) => value / q),
    );
    return shares.map((t) => along(t).map((value) => value * (p + t * (q - p))));
  };
  const unit = (values) => {
    const norm = Math.hypot(...values);
    return values.map((value) => value / norm);
  };
  const across = (values, u) => {
    const share = vk.dot(values, u);
    return values.map((value, i) => value - share * u[i]);
  };
  const arc = (u, v) => {
    const angle = 2 * Math.atan2(Math.hypot(...u.map((x, i) => x - v[i])), Math.hypot(...u.map((x, i) => x + v[i])));
    let side = across(v, u);
    if (Math.hypot(...side) < 1e-6) {
      const sizes = u.map(Math.abs);
      side = u.map((_, i) => (i === sizes.indexOf(Math.min(...sizes)) ? 1 : 0)); // opposite ends have many arcs
    }
    side = unit(across(unit(side), u));
    return (t) => unit(u.map((x, i) => Math.cos(t * angle) * x + Math.sin(t * angle) * side[i]));
  };

  // A grey image brought to another size, each pixel the mean of those that it covers; as torch does it with antialias.
  const spread = (from, to) => {
    const scale = from / to;
    const support = Math.max(scale, 1);
    return Array.from({ length: to }, (_, i) => {
      const centre = scale * (i + 0.5);
      const first = Math.max(0, Math.trunc(centre - support + 0.5));
      const last = Math.min(from, Math.trunc(centre + support + 0.5));
      const shares = Array.from({ length: last - first }, (_, k) =>
        Math.max(0, 1 - Math.abs(k + first - centre + 0.5) / support),
      );
      const total = shares.reduce((sum, share) => sum + share, 0);
      return { first, shares: shares.map((share) => share / total) };
    });
  };
  site.resized = ({ values, w, h }, width, height) => {
    const columns = spread(w, width);
    const rows = spread(h, height);
    const narrow = new Float32Array(width * h);
    for (let y = 0; y < h; y++) {
      columns.forEach(({ first, shares }, x) => {
        let sum = 0;
        for (let k = 0; k < shares.length; k++) sum += shares[k] * values[y * w + first + k];
        narrow[y * width + x] = sum;
      });
    }
    const found = new Float32Array(width * height);
    rows.forEach(({ first, shares }, y) => {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let k = 0; k < shares.length; k++) sum += shares[k] * narrow[(first + k) * width + x];
        found[y * width + x] = Math.min(1, Math.max(0, sum));
      }
    });
    return { values: found, w: width, h: height };
  };

  const inked = 0.1; // below which a pixel is background
  const boxOf = ({ values, w, h }) => {
    let [top, left, bottom, right] = [h, w, 0, 0];
    for (let i = 0; i < values.length; i++) {
      if (values[i] <= inked) continue;
      const [y, x] = [Math.floor(i / w), i % w];
      top = Math.min(top, y);
      left = Math.min(left, x);
      bottom = Math.max(bottom, y + 1);
      right = Math.max(right, x + 1);
    }
    return bottom > top ? [top, left, bottom, right] : null;
  };
  const massOf = ({ values, w }) => {
    let [total, down, over] = [0, 0, 0];
    for (let i = 0; i < values.length; i++) {
      total += values[i];
      down += values[i] * (Math.floor(i / w) + 0.5);
      over += values[i] * ((i % w) + 0.5);
    }
    return [down / Math.max(total, 1e-9), over / Math.max(total, 1e-9)];
  };
  const rounded = (value) => {
    const below = Math.floor(value);
    const half = value - below;
    return half === 0.5 ? below + (below % 2 ? 1 : 0) : Math.round(value);
  };

  // A drawing of ink as an image that is framed as the examples are; null where there is nothing on it. As the demo's Frame.fit.
  site.framed = (frame, ink, width, height) => {
    const box = boxOf(ink);
    if (!box) return null;
    const placed = frame.centre ? centred(frame, cut(ink, box), width, height) : site.resized(ink, width, height).values;
    return frame.ground === 0 ? placed : placed.map((value) => 1 - value);
  };
  const cut = ({ values, w }, [top, left, bottom, right]) => {
    const part = { values: new Float32Array((bottom - top) * (right - left)), w: right - left, h: bottom - top };
    for (let y = 0; y < part.h; y++) {
      const from = (top + y) * w + left;
      part.values.set(values.subarray(from, from + part.w), y * part.w);
    }
    return part;
  };
  const centred = (frame, ink, width, height) => {
    const scale = (frame.reach * Math.min(height, width)) / Math.max(ink.h, ink.w);
    const small = site.resized(ink, Math.max(1, rounded(ink.w * scale)), Math.max(1, rounded(ink.h * scale)));
    const most = Math.max(small.values.reduce((a, b) => Math.max(a, b), 0), 1e-6);
    const values = small.values.map((value) => value / most);
    const own = frame.by_mass ? massOf({ ...small, values }) : [small.h / 2, small.w / 2];
    const from = (k, whole, part) =>
      Math.max(0, Math.min(Math.max(0, rounded(frame.centre[k] * whole - own[k])), whole - part));
    const [down, over] = [from(0, height, small.h), from(1, width, small.w)];
    const found = new Float32Array(width * height);
    for (let y = 0; y < Math.min(small.h, height); y++) {
      for (let x = 0; x < Math.min(small.w, width); x++) found[(down + y) * width + over + x] = values[y * small.w + x];
    }
    return found;
  };
})();
