#include "apps/inspect/page.h"

namespace vitrine::apps {

const char* const kPageStyle = R"css(
:root { color-scheme: light dark; --back: #fff; --text: #1c2128; --muted: #626b78; --line: #e1e5ea; --panel: #f5f6f8;
  --accent: #2b6cb0; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --text: #e3e6ea; --muted: #99a2ae; --line: #2b3038;
  --panel: #1b1f25; --accent: #5aa2e0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 32px 24px 64px; max-width: 1120px; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", "Liberation Sans", "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 26px; line-height: 1.25; margin: 0; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 0 0 8px; font-weight: 650; }
h3 { font-size: 15px; margin: 24px 0 4px; font-weight: 650; }
section { margin-top: 40px; padding-top: 24px; border-top: 1px solid var(--line); }
p { margin: 4px 0 8px; max-width: 76ch; overflow-wrap: anywhere; }
.lead { color: var(--muted); }
.note, figcaption, footer { color: var(--muted); font-size: 13px; }
footer { margin-top: 48px; }
.formula { font-size: 17px; margin: 12px 0 12px 24px; }
.scroll { overflow-x: auto; }
.intro { display: grid; grid-template-columns: auto minmax(280px, 1fr); gap: 24px 40px; margin-top: 20px; }
.intro h2 { font-size: 15px; }
.pictures { display: flex; gap: 20px; flex-wrap: wrap; }
figure { margin: 0; }
.picture { height: 224px; max-width: 340px; object-fit: contain; image-rendering: pixelated; display: block; }
.facts { grid-column: 1 / -1; display: grid; grid-template-columns: repeat(2, max-content minmax(0, 1fr)); gap: 2px 16px;
  margin: 0; padding: 12px 16px; background: var(--panel); border-radius: 6px; font-size: 14px; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 760px) { .intro { grid-template-columns: 1fr; } .facts { grid-template-columns: max-content 1fr; } }
table { border-collapse: collapse; font-size: 14px; }
th { text-align: left; font-weight: 500; color: var(--muted); }
th, td { padding: 3px 16px 3px 0; }
.guesses { width: 100%; } .guesses td:nth-child(2) { width: 50%; } .guesses td:last-child { text-align: right; padding-right: 0; }
.bar { display: block; height: 10px; min-width: 60px; background: var(--panel); border-radius: 2px; }
.bar i { display: block; height: 100%; background: var(--accent); border-radius: 2px; }
.figures td:nth-child(n+3), .figures th:nth-child(n+3) { text-align: right; } .figures .bar { width: 120px; }
.figures tr { border-bottom: 1px solid var(--line); }
.heat td { text-align: center; padding: 5px 10px; min-width: 72px; border: 2px solid var(--back);
  background: color-mix(in srgb, var(--accent) calc(min(var(--x, 0), 0.8) * 90%), var(--panel)); }
.heat th { padding-right: 12px; } .heat tr:first-child th { text-align: center; }
.heat td[data-l] { cursor: pointer; } .heat td.on { outline: 2px solid var(--text); outline-offset: -2px; }
.heat .mean { background: none; color: var(--muted); }
.viewer { display: grid; grid-template-columns: 264px minmax(0, 1fr); gap: 24px; margin-top: 16px; }
.viewer h3 { margin: 0 0 8px; }
@media (max-width: 760px) { .viewer { grid-template-columns: 1fr; } }
#picker { position: relative; width: 264px; cursor: crosshair; touch-action: none; }
#picker img { width: 100%; aspect-ratio: var(--w) / var(--h); display: block; image-rendering: pixelated; }
.mark { position: absolute; pointer-events: none; left: calc(var(--qc) * 100% / var(--w)); top: calc(var(--qr) * 100% / var(--h));
  width: calc(100% / var(--w)); height: calc(100% / var(--h)); outline: 2px solid #fff; box-shadow: 0 0 0 3px #000; }
.map .mark { outline: 1px solid #fff; box-shadow: 0 0 0 2px #000; }
.extra .mark { display: none; }
#extras { display: flex; gap: 8px; margin: 8px 0 4px; }
button { font: inherit; font-size: 13px; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 5px; padding: 2px 10px; cursor: pointer; }
button.on { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
.detail { display: flex; flex-wrap: wrap; gap: 16px; }
.detail figure { width: 180px; } .detail figcaption b { color: var(--text); font-weight: 600; }
.map { position: relative; aspect-ratio: var(--w) / var(--h); cursor: pointer; }
.map canvas { width: 100%; height: 100%; display: block; image-rendering: pixelated; }
.ramp { height: 6px; margin: 6px 0 2px; border-radius: 2px; }
.controls { margin: 20px 0 4px; display: flex; gap: 8px 20px; flex-wrap: wrap; font-size: 14px; }
#grid { display: grid; gap: 6px; align-items: center; justify-content: start; font-size: 13px; color: var(--muted); padding: 4px; }
#grid .map.on { outline: 2px solid var(--accent); outline-offset: 2px; }
#grid .top { text-align: center; } #grid .name { padding-right: 8px; } #grid .name.second { padding-left: 40px; }
.memory { width: 100%; max-width: 960px; display: block; font-size: 12px; }
.memory text { fill: var(--muted); } .memory .rule { stroke: var(--line); } .memory .line { fill: none; stroke: var(--accent); stroke-width: 1.5; }
.memory .area { fill: var(--accent); opacity: 0.15; } .memory .turn { stroke: var(--muted); stroke-dasharray: 3 3; }
.tape { font-size: 13px; min-width: 980px; border-bottom: 1px solid var(--line); }
.row { display: grid; grid-template-columns: 132px 108px minmax(0, 3fr) minmax(0, 2fr) 64px 90px 76px 76px; gap: 12px; align-items: baseline;
  padding: 3px 4px 3px 22px; border-top: 1px solid var(--line); }
.row span { overflow-wrap: anywhere; } .row > span:nth-child(5), .row > span:nth-child(n+7) { text-align: right; white-space: nowrap; }
.row .bar { min-width: 0; background: none; } .row.head { color: var(--muted); border-top: 0; }
details .row:not(summary) { color: var(--muted); } details .row:not(summary) > span:first-child { color: var(--text); padding-left: 12px; }
summary.row > span:first-child { grid-column: 1 / 3; } summary.row > span:nth-child(2) { display: none; }
summary { cursor: pointer; } summary.row { position: relative; font-weight: 550; }
summary.row::before { content: "▸"; position: absolute; left: 6px; color: var(--muted); }
details[open] > summary.row::before { content: "▾"; }
summary.row:hover { background: var(--panel); }
section > details { margin-top: 12px; }
)css";

}  // namespace vitrine::apps
