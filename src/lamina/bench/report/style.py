"""How the page looks: light and dark as the reader's system is, from a telephone to a wide screen."""

CSS = """
:root{--ground:#f6f7f9;--card:#fff;--ink:#1b2330;--soft:#5a6678;--line:#e1e5eb;--track:#edf0f4;--in:#2f6fde;--out:#14a08c;
--peer:#e0792b;--warn:#fff5e0;--warn-line:#e8b64c}
@media (prefers-color-scheme:dark){:root{--ground:#11151c;--card:#1a202a;--ink:#e6eaf0;--soft:#9aa6b8;--line:#2c3543;
--track:#262e3a;--in:#6ca0ff;--out:#3ccbb4;--peer:#f2a05c;--warn:#2d2716;--warn-line:#8a6d2a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",
sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 16px 48px}
h1{font-size:26px;margin:0 0 2px}h2{font-size:18px;margin:0 0 4px}h3{margin:6px 0 4px}p{margin:0 0 14px}
.lead,.note,small{color:var(--soft)}.note{font-size:14px}
.tiles{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));gap:12px;margin:18px 0}
.tile,section{background:var(--card);border:1px solid var(--line);border-radius:12px}
.tile{padding:14px 16px}.tile b{display:block;font-size:26px;line-height:1.2;font-weight:650}
.tile span{color:var(--soft);font-size:14px}
section{padding:18px 18px 12px;margin:0 0 16px}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:0 32px}
.two>div{min-width:0}
ul.warnings{background:var(--warn);border:1px solid var(--warn-line);border-radius:12px;padding:12px 16px 12px 34px;
margin:0 0 16px;font-size:15px}
.key{display:inline-block;width:11px;height:11px;border-radius:3px;margin:0 5px 0 0}.key.in{background:var(--in)}
.key.out{background:var(--out)}.key.peer{background:var(--peer)}.keys span+span{margin-left:14px}
svg{display:block;overflow:visible;margin:6px 0 8px}
svg text{font-size:13px;fill:var(--ink)}svg .value{fill:var(--soft);font-variant-numeric:tabular-nums}
svg .code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:12px}
svg .faint{fill:var(--soft);font-size:12px}svg .label{font-size:13px;paint-order:stroke;stroke:var(--card);stroke-width:4px}
svg .track{fill:var(--track)}svg .in{fill:var(--in)}svg .out{fill:var(--out)}svg .peer{fill:var(--peer)}
svg .cell{fill:var(--track)}svg .heat{fill:var(--in)}svg .own{stroke:var(--in);stroke-width:1.5;stroke-opacity:1}
svg .dot{fill:var(--in);stroke:var(--card);stroke-width:1.5}
svg text.on{fill:var(--card);font-size:12px}svg text.off{font-size:12px}
svg .grid{stroke:var(--line);stroke-width:1}svg .range{stroke:var(--soft);stroke-width:2;stroke-opacity:.55}
svg .lead{stroke:var(--soft);stroke-width:1;stroke-opacity:.6}
svg .whisker{stroke:var(--ink);stroke-width:2;stroke-opacity:.65}
ol.legend{margin:4px 0 10px;padding-left:26px;columns:2 260px;font-size:14px;overflow-wrap:anywhere}
details{margin:2px 0 8px;font-size:14px}summary{cursor:pointer;color:var(--soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin:8px 0;min-width:100%}
th,td{padding:5px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft);font-weight:500}tbody th{font-weight:500}
tbody th{max-width:22em;overflow:hidden;text-overflow:ellipsis}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 16px;margin:8px 0;font-size:15px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media (max-width:720px){.tiles{grid-template-columns:repeat(2,minmax(0,1fr))}}
@media (max-width:520px){main{padding:18px 12px 32px}section{padding:14px 12px 8px}h1{font-size:22px}.tile b{font-size:22px}}
@media print{body{background:#fff}section{break-inside:avoid}}
"""
