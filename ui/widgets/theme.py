"""How the page looks: the theme, and the few rules of CSS that the theme can't say."""

from __future__ import annotations

import gradio as gr

THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
).set(
    body_text_color_subdued="*neutral_500",  # the theme's own is too pale to read on white
    error_text_color_dark="#fca5a5",  # and this one white, which says nothing of an error
    # One step darker than the theme's: white on its own indigo has a contrast of 4.46, below AA
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
)

# Colours come from the theme's variables, so that light and dark both follow.
CSS = """
.gradio-container { width: 100%; max-width: min(1240px, 100vw) !important; min-width: 0;
  margin: 0 auto; }
/* A wide table scrolls within itself; without this it would widen the page on a phone. */
.gradio-container .main, .gradio-container .wrap, .gradio-container main,
.gradio-container .column { min-width: 0; max-width: 100%; }
#table { max-width: 100%; overflow-x: auto; }
#table th, #table [role="gridcell"] * { font-family: var(--font); overflow-wrap: normal;
  word-break: normal; font-variant-numeric: tabular-nums; }
#table [role="gridcell"][aria-colindex="2"] *, #table [role="gridcell"][aria-colindex="3"] * {
  overflow-wrap: anywhere; }
#table th span { text-align: left; }
/* A long choice ends before the arrow and not under it. */
#deeper input, #template input, #model input, #label-set input { padding-right: 1.25rem;
  text-overflow: ellipsis; }
/* Each model's line of the menu on one or two lines, though the field itself is narrow. */
@media (min-width: 640px) { #model ul { min-width: 23rem; }
  #model ul li { width: auto !important; } }
button[role="tab"].selected { color: var(--primary-600); }
.dark button[role="tab"].selected { color: var(--primary-300); }
button:focus-visible, summary:focus-visible, a:focus-visible, [tabindex="0"]:focus-visible,
input[type="radio"]:focus-visible, input[type="checkbox"]:focus-visible,
input[type="range"]:focus-visible { outline: 2px solid var(--primary-500) !important;
  outline-offset: 2px; }
/* The editor's colours are too pale on white. */
body:not(.dark) .cm-line span { color: var(--neutral-800) !important; }
@media (prefers-reduced-motion: reduce) { *, *::before, *::after {
  animation-duration: .01ms !important; animation-iteration-count: 1 !important;
  transition-duration: .01ms !important; scroll-behavior: auto !important; } }
.prose h2 { font-size: 1.15rem; }
footer > .divider:last-of-type { display: none; } /* it parts the last link from nothing */
#labels textarea, #camera-labels textarea { overflow-y: auto !important; }
#square img { width: 100%; height: 100%; object-fit: contain; }
@media (max-width: 480px) { .gradio-container .main { padding-inline: .75rem !important; } }
#title h1 { margin: 0; font-size: 1.5rem; }
#title p { margin: .15rem 0 0; color: var(--body-text-color-subdued); }
.bare .html-container { padding: 0; }
.note { font-size: .85rem; color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
.note.problem, .chart .problem { color: var(--error-text-color); }
.note details { margin-top: .25rem; max-height: 14rem; overflow: auto; }
.note summary { cursor: pointer; }
.note ol, .note ul { margin: .25rem 0; padding-left: 1.25rem; }
.note progress { display: block; width: 100%; height: .5rem; margin-top: .35rem; border: 0;
  border-radius: .25rem; overflow: hidden; appearance: none; background: var(--neutral-200); }
.dark .note progress { background: var(--neutral-700); }
.note progress::-webkit-progress-bar { background: transparent; }
.note progress::-webkit-progress-value { background: var(--primary-600); }
.note progress::-moz-progress-bar { background: var(--primary-600); }
.chart { padding: .6rem .9rem; min-height: 6rem; overflow-wrap: anywhere; }
.chart .empty, .chart .problem { padding: 1.5rem .5rem; text-align: center; }
.chart .empty { color: var(--body-text-color-subdued); }
.chart .row { margin: .4rem 0; }
.chart .words { display: flex; gap: 1rem; justify-content: space-between; }
.chart .share { font-variant-numeric: tabular-nums; white-space: nowrap; }
.chart .track { height: .5rem; border-radius: .25rem; background: var(--neutral-200);
  overflow: hidden; }
.dark .chart .track { background: var(--neutral-700); }
.chart .bar { height: 100%; border-radius: .25rem; background: var(--primary-300); }
.chart .best .words { font-weight: 600; font-size: 1.1rem; }
.chart .best .bar { background: var(--primary-600); }
.dark .chart .bar { background: var(--primary-700); }
.dark .chart .best .bar { background: var(--primary-400); }
.chart .none { margin-top: .8rem; padding-top: .6rem;
  border-top: 1px solid var(--border-color-primary); }
.chart .none .bar { background: var(--neutral-400); }
.chart .none.best .bar, .dark .chart .none.best .bar { background: var(--neutral-500); }
.chart .more { color: var(--body-text-color-subdued); font-size: .85rem; margin-top: .5rem; }
.hints { margin: .25rem 0; padding: .5rem .75rem .5rem 1.75rem; border-radius: .4rem;
  background: var(--background-fill-secondary); font-size: .875rem; overflow-wrap: anywhere; }
.hints li + li { margin-top: .3rem; }
.dots p, .both p { margin: 0 0 .6rem; }
.dots .line { position: relative; height: 1.1rem; border-bottom: 1px solid var(--neutral-300);
  margin: 0 .5rem; }
.dark .dots .line { border-color: var(--neutral-600); }
.dots .dot { position: absolute; top: .3rem; width: .7rem; height: .7rem; margin-left: -.35rem;
  border-radius: 50%; background: var(--primary-500); opacity: .55; }
.dots .dot.chosen { opacity: 1; background: var(--background-fill-primary);
  border: 3px solid var(--primary-600); }
.dark .dots .dot.chosen { border-color: var(--primary-300); }
.dots .axis { display: flex; justify-content: space-between; font-size: .8rem;
  color: var(--body-text-color-subdued); }
.dots details { margin-top: .6rem; }
.dots summary { cursor: pointer; }
.dots .scroll, .both .scroll { overflow-x: auto; }
.dots table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
.dots td, .dots th { padding: .2rem .6rem; text-align: left; white-space: nowrap;
  font-weight: 400; }
.dots thead th, .dots td.best { font-weight: 600; }
.both table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.both td, .both th { padding: .35rem .5rem; text-align: left; font-weight: 400;
  vertical-align: top; border-color: var(--border-color-primary) !important;
  border-width: 0 0 1px !important;
  min-width: 5.5rem; overflow-wrap: break-word; }
.both thead th { font-size: .8rem; color: var(--body-text-color-subdued); }
.both .marked th, .both .marked td { font-weight: 600; }
.camera { display: grid; grid-template-columns: 5fr 6fr; gap: 1rem; align-items: start; }
@media (max-width: 700px) { .camera { grid-template-columns: minmax(0, 1fr); } }
.camera video { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain;
  border-radius: .5rem; background: var(--neutral-950); }
.camera video.mirrored { transform: scaleX(-1); }
.camera button { width: 100%; margin-top: .75rem; padding: .6rem; border-radius: .4rem;
  font-weight: 600; color: white; background: var(--primary-600); }
.camera button:hover { background: var(--primary-700); }
.camera .answer { border: 1px solid var(--border-color-primary); border-radius: .5rem; }
.camera .rate { min-height: 1.4rem; margin: .5rem 0 0; font-size: .85rem;
  color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
#announcer { position: absolute; } /* it has no place of its own to leave a gap */
.spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.how .scroll { overflow-x: auto; }
.how p { margin: .3rem 0 .6rem; }
.how table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.how td, .how th { padding: .35rem .55rem; text-align: left; font-weight: 400; white-space: nowrap;
  border-color: var(--border-color-primary) !important; }
.how thead th { font-size: .8rem; color: var(--body-text-color-subdued); }
.how .matrix td, .how .matrix thead th { min-width: 6rem; text-align: center; white-space: normal;
  vertical-align: bottom; }
.how .matrix tbody td { vertical-align: middle; background: color-mix(in srgb,
  var(--primary-500) calc(var(--part) * 45%), transparent); }
.how .matrix td.pair { font-weight: 700; outline: 2px solid var(--body-text-color);
  outline-offset: -3px; }
.how .matrix img { display: block; width: 56px; max-width: none; border-radius: .3rem; margin: 0; }
.how .loss td { text-align: right; }
.how .loss th { white-space: normal; } /* else wider than its column on a phone */
.how .tokens { display: flex; flex-wrap: wrap; gap: .35rem; margin: .4rem 0; padding: 0;
  list-style: none; }
.how .tokens li { margin: 0; padding: .2rem .5rem; border-radius: .35rem; text-align: center;
  border: 1px solid var(--border-color-primary); background: var(--background-fill-secondary); }
.how .tokens li:nth-child(even) { background: color-mix(in srgb, var(--primary-500) 22%,
  transparent); }
.how .tokens li.part { border-right-style: dashed; }
.how .tokens li.end { border: 2px solid var(--body-text-color); }
.how .tokens .number, .how .tokens .mark { display: block; font-size: .75rem; }
.how summary { cursor: pointer; padding: .15rem 0; }
.how .tree ul { margin: 0; padding-left: 1.1rem; list-style: none; }
.how .tree .kind, .how .tree .count, .how .tree .own { color: var(--body-text-color-subdued);
  font-size: .85rem; }
.how .tree .own { overflow-wrap: anywhere; }
.thumbnails .grid-wrap { max-height: none; }
.thumbnails .caption-label { max-width: 100%; white-space: normal; overflow-wrap: anywhere;
  font-size: .75rem; }
@media (max-width: 640px) { .thumbnails .grid-container {
  grid-template-columns: repeat(2, minmax(0, 1fr)) !important; } }
/* Below the buttons, which would lie on the plot. */
#best-confusion img, #best-calibration img { padding-top: 2rem; background: white; }
.plot-title h3 { margin: 0; font-size: .95rem; }
.counts { max-width: 40rem; }
.report p { margin: .3rem 0 .6rem; }
.report .verdict { font-size: 1.05rem; font-weight: 600; }
.report .scroll { overflow-x: auto; }
.report table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
.report caption { text-align: left; padding: .2rem 0; color: var(--body-text-color-subdued); }
.report td, .report th { padding: .3rem .6rem; text-align: left; font-weight: 400;
  white-space: nowrap; border-color: var(--border-color-primary) !important; }
.report thead th { font-size: .8rem; color: var(--body-text-color-subdued); }
.report .number { text-align: right; }
.report summary { cursor: pointer; padding: .15rem 0; }
.report .real th, .report .real td { font-weight: 700; }
.small p { font-size: .85rem; color: var(--body-text-color-subdued); }
"""
