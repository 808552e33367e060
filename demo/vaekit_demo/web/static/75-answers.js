// The calls that the panels make, answered in the page: by the model, or by pictures that were decoded beforehand.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { site } = vk;
  const { content } = site;
  const { info } = content;
  const { size } = info.latent;
  const patience = 1500; // milliseconds that drawing ahead may take

  class Told extends Error {}

  // What a decoder is told: a class with its context, or a mixture of two.
  const told = (y) => ({ y: y ?? null, c: content.rows && y !== null ? content.rows[y] : null });
  const mixed = (a, b, t) => ({
    y: a.y,
    y2: b.y,
    share: t,
    c: a.c && a.c.map((value, i) => value + t * (b.c[i] - value)),
  });
  const asked = (y) => {
    if (info.conditional && !content.rows[y ?? -1]) throw new Told("This model is told a class: choose one.");
    return told(info.conditional ? y : null);
  };

  const decoded = async (codes, each, urgent) => {
    const sprite = await site.sprite();
    if (sprite && !site.ready) return sprite.decode(codes, each);
    const runtime = await site.runtime();
    const x = await runtime.decode(codes, each.map(({ c }) => c), urgent);
    return site.pictures(x, codes.length);
  };
  const allTold = (codes, one) => codes.map(() => one);
  const pictured = (codes, y, urgent = false) => decoded(codes, allTold(codes, asked(y)), urgent);
  const code = (array, i) => Array.from(array.subarray(i * size, (i + 1) * size));
  const pictureable = (z) => (info.latent.bounds ? vk.within(info, z) : z);

  // Planes through the codes.
  const name = (i) => {
    const { kl } = info.dims.find((dim) => dim.i === i);
    return kl === null ? `z${i}` : `z${i}, KL ${kl.toFixed(2)}`;
  };
  const plane = (axes, n) => {
    if (axes === "pca") return content.pca;
    const chosen = axes ?? (size < 2 ? [0] : [0, 1]);
    const zero = Array(size).fill(0);
    const what = info.data.at_hand ? "test examples" : "draws from the prior";
    const of = size <= 2 ? "" : `, dimensions ${chosen[0]} and ${chosen[1]} of ${size}`;
    return {
      origin: zero,
      a: vk.axis(info, chosen[0]),
      b: chosen.length > 1 ? vk.axis(info, chosen[1]) : zero,
      labels: [name(chosen[0]), chosen.length > 1 ? name(chosen[1]) : "spread out for sight"],
      title: `Codes of ${n.toLocaleString("en")} ${what}${of}`,
      dimensions: chosen,
    };
  };
  const placed = ({ origin, a, b }, z) => {
    const n = z.length / size;
    const xy = new Float32Array(2 * n);
    const random = new site.Random(0);
    const flat = b.every((value) => value === 0);
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < size; k++) {
        const moved = z[i * size + k] - origin[k];
        xy[2 * i] += moved * a[k];
        xy[2 * i + 1] += moved * b[k];
      }
      if (flat) xy[2 * i + 1] = random.even() - 0.5;
    }
    return xy;
  };
  const sorted = (xy, axis) => xy.filter((_, i) => i % 2 === axis).sort();

  const packed = (array) => array && vk.base64(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));

  const describe = async () => {
    if (content.sprite) return info;
    const { milliseconds } = await site.runtime();
    return { ...info, most: Math.min(info.most, Math.max(9, Math.floor(patience / milliseconds))) };
  };

  const points = async ({ axes }) => {
    const { z, y, numbers } = await site.arrays();
    const found = plane(axes, z.length / size);
    const xy = placed(found, z);
    const range = [0, 1].flatMap((axis) => {
      const values = sorted(xy, axis);
      const [low, high] = [site.quantile(values, 0.002), site.quantile(values, 0.998)];
      const edge = 0.06 * Math.max(high - low, 1e-3);
      return [low - edge, high + edge];
    });
    return { ...found, n: xy.length / 2, xy: packed(xy), y: packed(y), numbers: packed(numbers), range, prior: !numbers };
  };

  const strips = async ({ z, y, dims, steps }) => {
    const values = dims.map((i) => {
      const { reach, mean, sd } = info.dims.find((dim) => dim.i === i);
      return reach ? site.even(reach[0], reach[1], steps) : site.even(mean - 3 * sd, mean + 3 * sd, steps);
    });
    const codes = dims.flatMap((i, row) =>
      values[row].map((value) => vk.within(info, z.map((other, k) => (k === i ? value : other)), [vk.axis(info, i)])),
    );
    return { values, pictures: await pictured(codes, y) };
  };

  const manifold = async ({ z, y, axes, side }) => {
    const arrays = await site.arrays();
    const found = plane(axes, 0);
    const xy = placed(found, arrays.z);
    const [u, v] = [0, 1].map((axis) => {
      const i = found.dimensions?.[axis];
      const values = sorted(xy, axis);
      return Array.from({ length: side }, (_, k) => {
        const share = (k + 0.5) / side;
        if (content.priors === null || i === undefined) return site.quantile(values, share);
        return content.priors[0][i] + content.priors[1][i] * site.normalQuantile(share);
      });
    });
    v.reverse();
    const { origin, a, b } = found;
    const beside = z.map((value, i) => value - origin[i]);
    const [u0, v0] = [vk.dot(beside, a), vk.dot(beside, b)];
    const codes = v.flatMap((up) =>
      u.map((across) => {
        const moved = z.map((value, i) => value + (across - u0) * a[i] + (up - v0) * b[i]);
        return vk.within(info, moved, [a, b]);
      }),
    );
    return { u, v, pictures: await pictured(codes, y) };
  };

  // Examples. Some of the test set are in the page: of others the next.
  const exampleOf = async (source) => {
    const { z, sd, y, numbers, pictures } = await site.arrays();
    if (!numbers) throw new Told(info.data.why);
    const next = numbers.findIndex((number) => number >= source.test);
    const i = source.random === undefined ? Math.max(0, next) : new site.Random(source.random).below(numbers.length);
    const bytes = info.picture.w * info.picture.h * info.picture.c;
    return {
      number: numbers[i],
      label: y ? y[i] : null,
      y: info.conditional ? y[i] : null,
      code: code(z, i),
      sd: sd && code(sd, i),
      x: pictures && { ...info.picture, n: 1, bytes: pictures.subarray(i * bytes, (i + 1) * bytes) },
    };
  };

  // What the model sees of a drawing.
  const seen = ({ drawing: { w, h, c, data } }) => {
    const bytes = vk.bytes(data);
    const [channels, height, width] = info.shape;
    const plane = (k) => ({ values: Float32Array.from({ length: w * h }, (_, i) => bytes[i * c + k] / 255), w, h });
    let x;
    if (content.frame) {
      const ink = plane(0);
      for (let i = 0; i < ink.values.length; i++) {
        let grey = 0;
        for (let k = 0; k < c; k++) grey += bytes[i * c + k] / 255 / c;
        ink.values[i] = Math.abs(grey - content.frame.ground);
      }
      x = site.framed(content.frame, ink, width, height);
      if (!x) throw new Told("Nothing is drawn yet.");
    } else {
      const parts = Array.from({ length: channels }, (_, k) => site.resized(plane(Math.min(k, c - 1)), width, height).values);
      x = Float32Array.from(parts.flatMap((part) => Array.from(part)));
    }
    return content.binary ? x.map((value) => (value >= 0.5 ? 1 : 0)) : x;
  };
  const drawn = async (source, y) => {
    const runtime = await site.runtime();
    if (!runtime) throw new Told("This page has no encoder: drawings cannot be encoded.");
    const x = seen(source);
    const { code, sd } = await runtime.encode(x, asked(y).c);
    return {
      number: null,
      label: null,
      y: info.conditional ? y : null,
      code,
      sd: info.normal ? sd : null,
      x: site.pictures(x, 1),
    };
  };

  const look = async ({ source, y, seed }) => {
    const found = source.drawing ? await drawn(source, y) : await exampleOf(source);
    const random = new site.Random(seed ?? 0);
    const draw = seed === null || !found.sd ? found.code : found.code.map((value, i) => value + found.sd[i] * random.normal());
    const z = pictureable(draw);
    const again = await pictured([z], y ?? found.y, true);
    const missed = source.test !== undefined && found.number !== source.test;
    const notes = missed ? [`Test ${source.test} is not in this page: here is the next.`] : [];
    return { ...found, y: y ?? found.y, again, z, terms: null, draws: 0, terms_note: "", notes };
  };

  // A place in latent space: of an example, a drawing, a class's mean, or a code.
  const meanOf = async (wanted) => {
    const { z, y } = await site.arrays();
    const mean = Array(size).fill(0);
    let n = 0;
    y.forEach((label, i) => {
      if (label !== wanted) return;
      n++;
      code(z, i).forEach((value, k) => (mean[k] += value));
    });
    if (!n) throw new Told(`There is no example of ${vk.nameOfClass(info, wanted)} on the map.`);
    return mean.map((value) => value / n);
  };
  const endOf = async (source, y) => {
    if (source.code || source.mean !== undefined) {
      const z = source.code ?? (await meanOf(source.mean));
      return { z: vk.within(info, z), told: asked(y), x: null };
    }
    const found = source.drawing ? await drawn(source, y) : await exampleOf(source);
    return { z: pictureable(found.code), told: asked(found.y ?? y), x: found.x };
  };
  const one = (pictures, i) => {
    const bytes = pictures.w * pictures.h * pictures.c;
    return { ...pictures, n: 1, bytes: pictures.bytes.subarray(i * bytes, (i + 1) * bytes) };
  };

  const interpolate = async ({ a, b, y, frames }) => {
    const ends = [await endOf(a, y), await endOf(b, y)];
    const z = site.path(info, ends[0].z, ends[1].z, frames);
    const each = z.map((_, k) => mixed(ends[0].told, ends[1].told, k / (frames - 1)));
    const pictures = await decoded(z, each, false);
    return { pictures, z, a: one(pictures, 0), b: one(pictures, frames - 1), x_a: ends[0].x, x_b: ends[1].x, notes: [] };
  };

  const arithmetic = async ({ a, b, c, y, amount }) => {
    const ends = [await endOf(a, y), await endOf(b, y), await endOf(c, y)];
    const [za, zb, zc] = ends.map(({ z }) => z);
    const result = pictureable(zc.map((value, i) => value + amount * (za[i] - zb[i])));
    const codes = [za, zb, zc, result];
    return { pictures: await decoded(codes, [...ends.map((end) => end.told), ends[2].told], true), z: result };
  };

  const samples = async ({ n, seed, temperature, y }) => {
    const { draws, draws_y: classes } = await site.arrays();
    const random = new site.Random(seed);
    const labels = Array.from({ length: n }, (_, i) => (info.conditional ? (y ?? i % info.classes.length) : null));
    const deal = draws && site.dealer(draws.length / size, classes, random);
    const normal = () => temperature * random.normal();
    const draw = (label) => (draws ? code(draws, deal(label)) : Array.from({ length: size }, normal));
    const z = labels.map((label) => pictureable(draw(label)));
    const pictures = await decoded(z, labels.map(told), n === 1);
    return { pictures, z, y: info.conditional ? labels : null };
  };

  const decode = ({ z, y }) => pictured([z], y, true);

  // Panels expect an answer with an error in it, never an exception.
  const answered = (compute) => async (request) => {
    try {
      return await compute(request);
    } catch (error) {
      if (error instanceof Told) return { error: error.message };
      console.error(error);
      return { error: `This browser could not do that (${error?.message ?? error}).` };
    }
  };
  site.server = Object.fromEntries(
    Object.entries({ describe, points, decode, strips, manifold, look, interpolate, arithmetic, samples }).map(
      ([call, compute]) => [call, answered(compute)],
    ),
  );
})();
