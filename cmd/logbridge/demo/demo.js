// Sends tracking events in the forms that the vendors' SDKs use: bodies without custom headers, so without preflights; and one
// that is signed.
"use strict";

const visit = Math.random().toString(36).slice(2, 10);
let n = 0;
const event = (name, more) => ({ event: name, visit, n: String(++n), ...more });

const slsURL = "/logstores/web/track?APIVersion=0.6.0";
const slsBody = (...logs) => JSON.stringify({ __logs__: logs, __tags__: { page: "demo" }, __topic__: "shop" });
const clsURL = "/tracklog?topic_id=demo-topic";
const clsBody = (contents) => JSON.stringify({ logs: [{ contents, time: Date.now() }], source: "demo" });

// The page's credentials come from its backend, which is the demo itself here.
const stsOptions = {
  accessKeyId: "",
  accessKeySecret: "",
  securityToken: "",
  refreshSTSToken: async () => {
    const answer = await fetch("/get_sts_token");
    if (!answer.ok) throw new Error("no credentials: " + answer.status);
    const c = await answer.json();
    Object.assign(stsOptions, { accessKeyId: c.AccessKeyId, accessKeySecret: c.AccessKeySecret, securityToken: c.SecurityToken });
  },
};
const sts = stsPlugin(stsOptions);

const postSigned = async (url, body) => {
  const { data, header } = await sts.process(url, body);
  const answer = await fetch(url, { method: "POST", headers: header, body: data });
  return `${answer.status} ${await answer.text()}`.trim();
};

const post = async (url, body) => {
  const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "text/plain;charset=UTF-8" }, body, keepalive: true });
  return `${answer.status} ${await answer.text()}`.trim();
};
const image = (url, fields) => new Promise((done) => {
  const img = new Image();
  img.onload = () => done("image loaded");
  img.onerror = () => done("image refused");
  img.src = url + "&" + new URLSearchParams(fields);
});

const sends = {
  slsBeacon: () => (navigator.sendBeacon(slsURL, slsBody(event("cart", { item: "lamp", price: "19.90" }))) ? "queued" : "refused by the browser"),
  slsFetch: () => post(slsURL, slsBody(event("search", { text: "lamp" }), event("search", { text: "table lamp" }), event("results", { count: "7" }))),
  slsImage: () => image("/logstores/web/track_ua.gif?APIVersion=0.6.0", event("page", { path: "/lamps" })),
  slsSigned: () => postSigned("/logstores/web", slsBody({ ...event("login", { user: "Zoë 😀" }), __time__: Math.floor(Date.now() / 1000) })),
  clsFetch: () => post(clsURL, clsBody(event("buy", { total: "19.90" }))),
  clsImage: () => image("/track.gif?topic_id=demo-topic", event("advertisement", { id: "summer" })),
};

const list = document.getElementById("sent");
for (const button of document.querySelectorAll("button[data-send]")) {
  button.addEventListener("click", async () => {
    let result;
    try {
      result = await sends[button.dataset.send]();
    } catch (e) {
      result = String(e);
    }
    const row = document.createElement("li");
    row.textContent = `${new Date().toLocaleTimeString()} ${button.textContent}: ${result}`;
    list.prepend(row);
  });
}
