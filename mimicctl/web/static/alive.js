// Says when the server is gone, and takes it back when it has come again.

import { api, sayFailure, sayNothing } from "./common.js";

const EVERY = 3000;

export function watchServer() {
  let gone = false;
  setInterval(async () => {
    try {
      await api("/api/pages");
      if (gone) sayNothing();
      gone = false;
    } catch (error) {
      gone = true;
      sayFailure(error);
    }
  }, EVERY);
}
