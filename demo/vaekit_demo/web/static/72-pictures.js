// Data of any shape as pictures of bytes, as the demo shows them.
(() => {
  "use strict";
  const { site } = window.vaekit;

  // From n examples, one after the other.
  site.pictures = (x, n) => {
    const { info, span } = site.content;
    const [low, high] = span;
    const wide = Math.max(high - low, 1e-9);
    const unit = (value) => Math.min(1, Math.max(0, (value - low) / wide));
    const { w, h, c } = info.picture;
    const bytes = new Uint8Array(n * w * h * c);
    const size = x.length / n;
    const draw = { numbers: bars, sequence: rows, image: info.shape[0] === c ? image : beside }[info.kind];
    for (let i = 0; i < n; i++) {
      draw(
        bytes.subarray(i * w * h * c, (i + 1) * w * h * c),
        x.subarray(i * size, (i + 1) * size),
        unit,
        info,
        Math.min(Math.max(-low / wide, 0), 1),
      );
    }
    return { n, w, h, c, bytes };
  };

  const rows = (bytes, x, unit) => {
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.round(unit(x[i]) * 255);
  };

  const image = (bytes, x, unit, { picture: { w, h, c } }) => {
    for (let i = 0; i < w * h; i++) {
      for (let k = 0; k < c; k++) bytes[i * c + k] = Math.round(unit(x[k * w * h + i]) * 255);
    }
  };

  // Of many channels, side by side.
  const beside = (bytes, x, unit, { shape: [channels, high, wide] }) => {
    for (let k = 0; k < channels; k++) {
      for (let y = 0; y < high; y++) {
        for (let i = 0; i < wide; i++) {
          bytes[y * channels * wide + k * wide + i] = Math.round(unit(x[(k * high + y) * wide + i]) * 255);
        }
      }
    }
  };

  // A bar for each number, up or down from where 0 is; of more numbers than there are bars, the mean of neighbours.
  const bars = (bytes, x, unit, { picture: { w, h } }, ground) => {
    const n = Math.min(x.length, 512);
    const wide = w / n;
    const [larger, least] = [x.length % n, Math.floor(x.length / n)];
    let from = 0;
    for (let bar = 0; bar < n; bar++) {
      const count = least + (bar < larger ? 1 : 0);
      let value = 0;
      for (let i = 0; i < count; i++) value += unit(x[from + i]) / count;
      from += count;
      for (let y = 0; y < h; y++) {
        const at = (h - 1 - y + 0.5) / h;
        const inside = at > Math.min(value, ground) && at < Math.max(value, ground);
        const shade = inside ? 230 : Math.abs(at - ground) <= 0.5 / h ? 110 : 24;
        for (let k = 0; k < wide; k++) bytes[y * w + bar * wide + k] = wide > 2 && k === wide - 1 ? 24 : shade;
      }
    }
  };
})();
