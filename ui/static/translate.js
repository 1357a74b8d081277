// Puts the page into the browser's language, text by text, as it is drawn and whenever it changes.
// `words`: English -> the other language. {0}, {1} in an English text stand for what varies; the
// translation has them where it needs them. What people typed is left alone: it is in fields, or
// in elements that say translate="no".
(language, words) => {
  const wanted = new URLSearchParams(location.search).get("lang") ?? navigator.language;
  if (wanted.split("-")[0] !== language) return;
  const OURS = ["placeholder", "aria-label", "title", "alt"];
  const LEFT =
    "textarea, pre, code, script, style, .cm-editor, [role=gridcell], .theirs .caption-label, " +
    ".theirs img, .theirs .caption, .theirs .filename, .theirs .token";
  const literal = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const patterns = Object.entries(words)
    .filter(([english]) => /\{\d\}/.test(english))
    .map(([english, other]) => {
      const order = [];
      const source = english.split(/(\{\d\})/).map((part) => {
        if (!/^\{\d\}$/.test(part)) return literal(part);
        order.push(part);
        return "([\\s\\S]+?)";
      }).join("");
      return [new RegExp(`^${source}$`), order, other, english.length];
    })
    .sort((a, b) => b[3] - a[3]); // "{0} labels." fits much that a longer one fits better
  const missing = (window.clipUntranslated = new Set()); // for the test that looks for gaps

  const one = (text) => {
    if (words[text] !== undefined) return words[text];
    for (const [pattern, order, other] of patterns) {
      const found = text.match(pattern);
      if (found) {
        const fill = (piece) => (piece.endsWith(".") ? one(piece) : null) ?? piece; // a reason
        return order.reduce((made, name, i) => made.replaceAll(name, () => fill(found[i + 1])), other);
      }
    }
    return null;
  };
  const known = new Map();
  // A whole text, or else each of its sentences by itself.
  const translate = (text) => {
    const core = text.trim().replace(/\s+/g, " ");
    if (!/[A-Za-z]{2}/.test(core)) return null;
    if (!known.has(core)) {
      let other = one(core);
      if (other === null) {
        const sentences = core.split(/(?<=[.!?:…”)])\s+(?=[A-Z“])/);
        const made = sentences.map(one);
        if (sentences.length > 1 && made.some((x) => x !== null)) {
          other = made.map((x, i) => x ?? (missing.add(sentences[i]), sentences[i])).join("");
        }
      }
      if (other === null) missing.add(core);
      if (known.size > 5000) known.clear(); // what people type goes through here too
      known.set(core, other);
    }
    const other = known.get(core);
    return other === null ? null : text.replace(/\S[\s\S]*\S|\S/, () => other);
  };

  const isLeft = (element) =>
    !element || element.closest(LEFT) || element.closest("[translate]")?.translate === false;
  const shown = new WeakMap(); // what was put in place, so that it is not taken for new
  const text = (node) => {
    if (shown.get(node) === node.data || isLeft(node.parentElement)) return;
    const other = translate(node.data);
    if (other === null || other === node.data) return;
    shown.set(node, other);
    node.data = other;
  };
  const attributes = (element) => {
    for (const name of OURS) {
      const value = element.getAttribute(name);
      if (!value || (["alt", "title"].includes(name) && isLeft(element))) continue;
      const key = `${name} ${value}`;
      if (shown.get(element)?.has?.(key)) continue;
      const other = translate(value);
      if (other === null || other === value) continue;
      if (!shown.has(element)) shown.set(element, new Set());
      shown.get(element).add(`${name} ${other}`);
      element.setAttribute(name, other);
    }
  };
  // A closed menu shows its choice as a field's value, which its own script knows in English.
  const english = new WeakMap();
  const menu = (field) => {
    if (document.activeElement === field) return;
    const other = one(field.value);
    if (other === null) return;
    english.set(field, { text: field.value, other });
    field.value = other;
  };
  const MENU = "input[role=combobox]";
  document.addEventListener("focusin", ({ target }) => {
    const kept = english.get(target);
    if (kept && target.value === kept.other) target.value = kept.text;
  }, true);
  document.addEventListener("focusout", ({ target }) => {
    if (target.matches?.(MENU)) setTimeout(() => menu(target), 50);
  }, true);

  const walk = (root) => {
    if (root.nodeType === Node.TEXT_NODE) return text(root);
    if (root.nodeType !== Node.ELEMENT_NODE) return;
    attributes(root);
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      node.nodeType === Node.TEXT_NODE ? text(node) : attributes(node);
    }
  };
  const begin = () => {
    document.documentElement.lang = language;
    let title = "";
    const retitle = () => {
      if (document.title !== title) document.title = title = translate(document.title) ?? document.title;
    };
    retitle();
    new MutationObserver(retitle).observe(document.head, { subtree: true, childList: true });
    walk(document.body);
    new MutationObserver((changes) => {
      for (const change of changes) {
        if (change.type === "childList") change.addedNodes.forEach(walk);
        else if (change.type === "characterData") text(change.target);
        else attributes(change.target);
      }
      document.querySelectorAll(MENU).forEach(menu);
    }).observe(document.body, {
      subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: OURS,
    });
  };
  document.body ? begin() : addEventListener("DOMContentLoaded", begin);
}
