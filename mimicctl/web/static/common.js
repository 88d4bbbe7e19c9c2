// What every page needs: coming in by a link, asking the server, the navigation, and saying so when the server is gone.

/** An answer of the server that is no success. `what`, `where` and `do` are as in the terminal. */
export class Refused extends Error {
  constructor(status, answer) {
    super(answer.error || `The server answered ${status}.`);
    this.status = status;
    this.where = answer.where || "";
    this.do = answer.do || "";
  }
}

/** Use up the token of the address, if it has one, and draw the navigation. False if this browser is not let in; the page then says so. */
export async function enter() {
  const token = location.hash.slice(1);
  if (token) history.replaceState(null, "", location.pathname + location.search);
  try {
    if (token) await api("/api/join", { token });
    drawNavigation(await api("/api/pages"));
    return true;
  } catch (error) {
    // A link that was used already does no harm to a browser that was let in before.
    if (token && error.status === 403) {
      try {
        drawNavigation(await api("/api/pages"));
        return true;
      } catch { /* it was not */ }
    }
    sayFailure(error);
    return false;
  }
}

/** JSON of a GET, or, with a body, of a POST. Throws `Refused`, or a TypeError while the server cannot be reached. */
export async function api(path, body) {
  const response = await ask(path, body);
  return response.json();
}

/** The same for binary answers: an ArrayBuffer. */
export async function apiBytes(path) {
  const response = await ask(path);
  return response.arrayBuffer();
}

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await fetch(path, options);
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
  return response;
}

/** A bar at the top of the page that stays until it is taken back with `sayNothing`. */
export function sayFailure(error) {
  const gone = error instanceof TypeError;
  say(gone ? "The server cannot be reached." : error.message, gone ? "Is mimicctl still running?" : [error.where, error.do].filter(Boolean).join(": "));
}

export function say(what, more = "") {
  let bar = document.getElementById("failure");
  if (!bar) {
    bar = element("div", { id: "failure", role: "alert" });
    document.body.prepend(bar);
  }
  bar.replaceChildren(element("strong", {}, what), " ", element("span", {}, more));
}

export function sayNothing() {
  document.getElementById("failure")?.remove();
}

/** A DOM element with properties and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function drawNavigation(pages) {
  const header = document.querySelector("header");
  if (!header) return;
  const here = location.pathname === "/" ? pages[0]?.href : location.pathname;
  header.replaceChildren(
    element("span", { className: "name" }, "mimicctl"),
    element("nav", {}, ...pages.map((page) => {
      const link = element("a", { href: page.href }, page.title);
      if (page.href === here) link.setAttribute("aria-current", "page");
      return link;
    })),
  );
}
