// Functions that the page's events run in the browser: `js="clip.settle"` and the like. Loaded in the
// head, so that they are there before the first event.
window.clip = (() => {
  const TYPING_PAUSE = 400; // milliseconds
  const CUSTOM = "custom"; // the choice of the template menu for one's own: CUSTOM in question.py
  const STORED = "clip-question"; // the key in the session storage
  let openPanel = "answer"; // the open tab beside the answer
  const edits = {}; // by text field: the number of its last edit
  let lastQuestion = null;

  // The storage may be denied to a page in a frame of another site
  const store = (question) => {
    try { sessionStorage.setItem(STORED, JSON.stringify(question)); } catch { }
  };
  // A page may be left before its last edit has reached `saveQuestion`: read the field itself
  addEventListener("pagehide", () => {
    if (!lastQuestion) return;
    const field = document.querySelector("#labels textarea");
    store({ ...lastQuestion, labels: field?.value ?? lastQuestion.labels });
  });

  return {
    // Debounce: resolves with the text after a pause in typing; if more was typed meanwhile, with the
    // old text, so that nothing changes.
    settle: (field, text, settled) => {
      const edit = (edits[field] = (edits[field] ?? 0) + 1);
      return new Promise((resolve) => setTimeout(
        () => resolve([edit === edits[field] ? text : settled]), TYPING_PAUSE));
    },

    // gradio's buttons of example images have no name for a screen reader.
    nameExamples: (names) => {
      document.querySelectorAll("#examples button.gallery-item").forEach(
        (button, i) => button.setAttribute("aria-label", `Example: ${names[i]}`));
    },

    // A screen reader reads a change of an element that was there before, not a new element.
    announceAnswer: () => {
      const [label, share] = [".best :is(.label, .name)", ".best .share"].map(
        (part) => document.querySelector("#chart " + part)?.textContent);
      const other = document.querySelector("#chart .empty")?.textContent; // a problem is an alert
      document.querySelector("#announced").textContent = label ? `${label}: ${share}` : other ?? "";
    },

    // A tab beside the answer was opened. Returns what its event waits for: a change of its hidden box.
    openPanel: (name, settled) => {
      openPanel = name;
      return settled || "opened";
    },
    // There is a new answer: only the open tab's hidden box changes.
    refreshPanel: (name, settled, seen) => (openPanel === name ? settled : seen),

    saveQuestion: (picture, labels, template, custom, model, framing, example) => {
      lastQuestion = {
        search: location.search, picture: picture && { path: picture.path }, labels,
        template: template === CUSTOM ? custom : template, model, framing, example,
      };
      store(lastQuestion);
    },
    // After a reload: the saved question. Not when the page is opened for the first time, or by a link.
    savedQuestion: () => {
      try {
        const [{ type }] = performance.getEntriesByType("navigation");
        const saved = sessionStorage.getItem(STORED) ?? "{}";
        const isReload = type !== "navigate" && JSON.parse(saved).search === location.search;
        return [isReload ? saved : ""];
      } catch { return [""]; }
    },

    // Only the browser knows the address under which the page is seen.
    pageAddress: () => (window.gradio_config?.root || location.origin).replace(/\/$/, ""),

    // The labels of another tab's field, for the field under Classify and its settled copy.
    shareLabels: (labels) => [labels, labels],
    cameraQuestion: (labels, ...others) => [labels, JSON.stringify(others)],

    closePreview: (gallery) => {
      document.querySelector(`#${gallery} .preview`)?.dispatchEvent(
        new KeyboardEvent("keydown", { code: "Escape", bubbles: true }));
    },
    press: (button) => document.querySelector(`#${button}`).click(),
  };
})();
