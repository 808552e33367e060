// What the page carries: the description of its model, arrays, and files that are unpacked when they are needed.
(() => {
  "use strict";
  const vk = window.vaekit;
  const site = (vk.site = { content: JSON.parse(document.getElementById("vk-content").textContent) });

  // Made once, when it is first asked for; where that fails, anew when it is asked for again.
  site.once = (make) => {
    let made = null;
    const failed = (error) => {
      made = null;
      throw error;
    };
    return () => (made ??= make().catch(failed));
  };

  const unpacked = async (text) => {
    const stream = new Blob([vk.bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  };

  const kinds = {
    z: Float32Array,
    sd: Float32Array,
    y: Uint16Array,
    numbers: Int32Array,
    draws: Float32Array,
    draws_y: Uint16Array,
    pictures: Uint8Array,
  };
  // All arrays by name; null for those that the page has not.
  site.arrays = site.once(async () => {
    const found = await Promise.all(
      Object.entries(kinds).map(async ([name, Kind]) => {
        const text = site.content.arrays[name];
        return [name, text ? new Kind(await unpacked(text)) : null];
      }),
    );
    return Object.fromEntries(found);
  });

  const whole = new Promise((resolve) => {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", resolve);
    else resolve();
  });
  // The bytes of a file, which come after the page itself.
  const block = (name) => document.getElementById(`vk-block-${name}`);
  site.block = async (name) => {
    await whole;
    return new Uint8Array(await unpacked(block(name).textContent));
  };
  site.dropBlock = (name) => block(name).remove();
})();
