// Pictures that were decoded beforehand, at even steps over a rectangle of codes: any other is blended from the nearest four.
(() => {
  "use strict";
  const vk = window.vaekit;
  const { site } = vk;

  const pixels = async (file) => {
    const image = new Image();
    image.src = `data:image/webp;base64,${file}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: image.width, height: image.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, image.width, image.height);
  };

  class Sprite {
    constructor(content, grids) {
      Object.assign(this, content, { grids });
    }

    // Of codes (n, 2) and what each is told: a class y, null where a model is told none, or with a share also a class y2.
    decode(codes, each) {
      const { w, h, c } = this.picture;
      const size = w * h * c;
      const bytes = new Uint8Array(codes.length * size);
      const other = new Uint8Array(size);
      codes.forEach((z, i) => {
        const own = bytes.subarray(i * size, (i + 1) * size);
        const { y, y2 = y, share = 0 } = each[i];
        this.blend(z, this.grids[y ?? 0], own);
        if (y2 === y || !share) return;
        this.blend(z, this.grids[y2], other);
        own.forEach((value, k) => (own[k] = value + share * (other[k] - value) + 0.5));
      });
      return { n: codes.length, w, h, c, bytes };
    }

    blend([z0, z1], { data, width }, bytes) {
      const { side, across, up } = this;
      const { w, h, c } = this.picture;
      const place = (value, from, to) => {
        const at = Math.min(Math.max(((value - from) / (to - from)) * (side - 1), 0), side - 1);
        const before = Math.min(Math.floor(at), side - 2);
        return [before, at - before];
      };
      const [column, right] = place(z0, across[0], across[1]);
      const [row, below] = place(z1, up[1], up[0]);
      const shares = [(1 - right) * (1 - below), right * (1 - below), (1 - right) * below, right * below];
      const [east, south] = [4 * w, 4 * h * width];
      for (let y = 0; y < h; y++) {
        let p = 4 * ((row * h + y) * width + column * w);
        let o = y * w * c;
        for (let x = 0; x < w; x++, p += 4) {
          for (let k = 0; k < c; k++) {
            bytes[o++] =
              shares[0] * data[p + k] +
              shares[1] * data[p + k + east] +
              shares[2] * data[p + k + south] +
              shares[3] * data[p + k + south + east] +
              0.5;
          }
        }
      }
    }
  }

  // Null where the page has none.
  site.sprite = site.once(async () => {
    const { sprite } = site.content;
    return sprite && new Sprite(sprite, await Promise.all(sprite.files.map(pixels)));
  });
})();
