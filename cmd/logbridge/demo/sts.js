// Signs requests with temporary credentials, in the shape of @aliyun-sls/web-sts-plugin and without a library: stsPlugin(options)
// with accessKeyId, accessKeySecret, securityToken and refreshSTSToken(), which fills them; process(url, payload) gives what to
// send. A real page uses the plugin of npm; docs/web-sts.md says how.
"use strict";

// The interval of the plugin, in milliseconds.
const refreshInterval = 300000;

const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

// md5 is here because the browsers' own cryptography has none. RFC 1321.
const md5 = (bytes) => {
  const turns = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
  const size = ((bytes.length + 8) >> 6) * 64 + 64;
  const text = new DataView(new ArrayBuffer(size));
  new Uint8Array(text.buffer).set(bytes);
  text.setUint8(bytes.length, 0x80);
  text.setUint32(size - 8, bytes.length * 8, true);
  let state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];
  for (let block = 0; block < size; block += 64) {
    let [a, b, c, d] = state;
    for (let i = 0; i < 64; i++) {
      const round = i >> 4;
      const f = [(b & c) | (~b & d), (d & b) | (~d & c), b ^ c ^ d, c ^ (b | ~d)][round];
      const word = text.getUint32(block + 4 * ([i, 5 * i + 1, 3 * i + 5, 7 * i][round] % 16), true);
      const sum = (a + f + word + Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32)) | 0;
      const turn = turns[4 * round + (i % 4)];
      [a, b, c, d] = [d, (b + ((sum << turn) | (sum >>> (32 - turn)))) | 0, b, c];
    }
    state = [a, b, c, d].map((v, i) => (v + state[i]) | 0);
  }
  const sum = new DataView(new ArrayBuffer(16));
  state.forEach((v, i) => sum.setInt32(4 * i, v, true));
  return new Uint8Array(sum.buffer);
};

const hmacSHA1 = async (secret, text) => {
  const bytes = (s) => new TextEncoder().encode(s);
  const key = await crypto.subtle.importKey("raw", bytes(secret), { name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
  return btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes(text)))));
};

const stsPlugin = (options) => ({
  process: async (url, payload) => {
    const now = Date.now();
    if (!options.stsTokenFreshTime || now - options.stsTokenFreshTime >= (options.refreshSTSTokenInterval || refreshInterval)) {
      await options.refreshSTSToken();
      options.stsTokenFreshTime = now;
    }
    const header = {
      "Content-Type": "application/json",
      "Content-MD5": hex(md5(new TextEncoder().encode(payload))).toUpperCase(),
      "x-log-apiversion": "0.6.0",
      "x-log-bodyrawsize": String(payload.length),
      "x-log-signaturemethod": "hmac-sha1",
      "x-acs-security-token": options.securityToken,
    };
    const date = new Date(now).toUTCString();
    const signed = Object.keys(header).filter((name) => /^x-(log|acs)-/.test(name)).sort();
    const text = ["POST", header["Content-MD5"], header["Content-Type"], date,
      ...signed.map((name) => name + ":" + header[name]), url.slice(url.indexOf("/logstores"))].join("\n");
    header["x-log-date"] = date;
    header.Authorization = `LOG ${options.accessKeyId}:${await hmacSHA1(options.accessKeySecret, text)}`;
    return { data: payload, header };
  },
});
