"""The style sheet of the widget, and the rules that the report shares with it."""

from __future__ import annotations

from typing import Final

from bedrock_batch_monitor.presentation import palette

# Every rule is limited to one class, because the widget is part of a CloudWatch page.
#
# Without the rules in @supports, each job is a block whose parts wrap where there is no room. That
# needs no at-rule, so it is also what is left where a page or a browser drops them. In a wide
# window, the columns of all rows are one grid (subgrid): a column is as wide as its content, and
# only names, records and messages share the rest. The message has its own line until there is room.
SHARED: Final = """
.bbm,.bbm *{box-sizing:border-box}
.bbm{container-type:inline-size;color:var(--ink);background:var(--page);text-align:left;
font:14px/1.45 "Amazon Ember",system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
"Liberation Sans",
sans-serif;font-variant-numeric:tabular-nums}
.bbm a{color:var(--link);text-decoration:underline;text-underline-offset:2px;
text-decoration-thickness:1px}
.bbm a:hover{text-decoration-thickness:2px}
.bbm :focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:3px}
.bbm .vh{position:absolute;width:1px;height:1px;margin:-1px;overflow:hidden;clip-path:inset(50%);
white-space:nowrap}
.bbm .soft,.bbm .under,.bbm .dot{color:var(--soft)}
.bbm .under{display:block;font-size:12px}
.bbm .id{font-family:ui-monospace,"SF Mono",Consolas,"Liberation Mono",monospace;font-size:11.5px}
.bbm .nowrap{white-space:nowrap}
.bbm .warn{color:var(--warn)}
.bbm .alarm{color:var(--alarm)}
.bbm .icon{width:12px;height:12px;flex:none;fill:var(--c);overflow:visible}
.bbm .ring{fill:none;stroke:var(--c);stroke-width:1.5px}
.bbm .status{display:inline-flex;align-items:center;gap:6px;color:var(--c);font-weight:600;
white-space:nowrap}
.bbm .s-other.status{white-space:normal;overflow-wrap:anywhere}
.bbm .badge{display:inline-block;margin:3px 4px 0 0;padding:0 6px;border:1px solid currentColor;
border-radius:9px;font-size:11.5px;font-weight:600;white-space:nowrap}
.bbm .status:has(+.badge){margin-right:6px}
.bbm .bar{display:block;min-width:90px;border-radius:4px;overflow:hidden;margin:6px 0 3px}
.bbm .rest{fill:var(--track)}
.bbm .done{fill:var(--c)}
.bbm .counts{font-size:12px;color:var(--soft)}
.bbm .counts b{color:var(--ink)}
.bbm .chips{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0;padding:0;list-style:none}
.bbm .chips li{display:flex;align-items:baseline;gap:6px}
.bbm .chips .status{font-weight:400}
.bbm .chips .icon{align-self:center}
.bbm table{width:100%;font:inherit;color:inherit;border-collapse:collapse;margin:0;background:none}
.bbm th,.bbm td{padding:8px 16px 8px 0;border:0;border-bottom:1px solid var(--line);
vertical-align:top;text-align:left;font-weight:400;background:none;color:inherit}
.bbm thead th{padding-top:4px;padding-bottom:5px;font-size:12px;color:var(--soft);
white-space:nowrap}
.bbm th:last-child,.bbm td:last-child{padding-right:0}
.bbm .nothing{margin:0;padding:14px 0;color:var(--soft)}
.bbm .more-jobs{margin:8px 0 0;color:var(--soft)}
.bbm .jobs,.bbm .jobs tbody{display:block}
.bbm .jobs thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.bbm .jobs tr{display:flex;flex-wrap:wrap;gap:3px 18px;padding:11px 0;
border-bottom:1px solid var(--line)}
.bbm .jobs td{display:block;padding:0;border:0;overflow-wrap:anywhere}
.bbm .jobs td:empty{display:none}
.bbm .jobs .name{font-weight:600}
.bbm .jobs .c-job{order:1;flex:1 1 15em}
.bbm .jobs .c-status{order:2;flex:0 1 auto}
.bbm .jobs .c-records{order:3;flex:1 1 100%}
.bbm .jobs .c-message{order:4;flex:1 1 100%}
.bbm .jobs .c-ends,.bbm .jobs .c-times,.bbm .jobs .c-output{order:5;flex:0 1 auto}
.bbm .jobs.active td.c-ends:not(:empty)::before{content:"Ends "}
.bbm .jobs.active td.c-times:not(:empty)::after{content:" in this status"}
.bbm .jobs.ended td.c-ends:not(:empty)::before{content:"Ended "}
.bbm .jobs.ended td.c-times:not(:empty)::before{content:"Took "}
.bbm .concerns{margin:0;padding:0;list-style:none}
.bbm .concerns li{display:flex;flex-wrap:wrap;gap:3px 18px;padding:10px 0;
border-bottom:1px solid var(--line);overflow-wrap:anywhere}
.bbm .concerns .what{flex:1 1 auto}
.bbm .concerns .when{flex:0 1 auto;color:var(--soft);font-size:inherit}
.bbm .concerns .who,.bbm .concerns .why{flex:1 1 100%}
.bbm .concerns .name{font-weight:600}
.bbm .concerns .next{display:block}
@supports (grid-template-columns:subgrid){
@container (min-width:900px){
.bbm .concerns{display:grid;
grid-template-columns:fit-content(15em) minmax(13em,1fr) minmax(20em,2fr) max-content;
column-gap:18px}
.bbm .concerns li{display:grid;grid-column:1/-1;grid-template-columns:subgrid}
.bbm .concerns .when{grid-column:4;grid-row:1}
}
@container (min-width:960px){
.bbm .jobs{--records:0px;--message:0px;display:grid;
grid-template-columns:[status] fit-content(15em) [job] minmax(13em,1fr) [records] var(--records)
[ends] max-content [times] max-content [message] var(--message) [output] max-content [end]}
.bbm .jobs.with-records{--records:minmax(11em,.5fr)}
.bbm .jobs thead{position:static;width:auto;height:auto;clip-path:none}
.bbm .jobs thead,.bbm .jobs tbody,.bbm .jobs tr{display:grid;grid-column:1/-1;gap:0;
grid-template-columns:subgrid;align-content:start}
.bbm .jobs tr{padding:0}
.bbm .jobs th{border:0}
.bbm .jobs :is(th,td){order:0;grid-row:1}
.bbm .jobs td{padding:8px 18px 8px 0}
.bbm .jobs .c-status{grid-column:status}
.bbm .jobs .c-job{grid-column:job}
.bbm .jobs .c-records{grid-column:records}
.bbm .jobs .c-ends{grid-column:ends}
.bbm .jobs .c-times{grid-column:times}
.bbm .jobs .c-output{grid-column:output;padding-right:0}
.bbm .jobs td.c-message{grid-column:job/end;grid-row:2;padding:0 0 10px}
.bbm .jobs th.c-message{position:absolute;padding:0;width:1px;height:1px;overflow:hidden;
clip-path:inset(50%)}
.bbm .jobs td::before,.bbm .jobs td::after{display:none}
}
@container (min-width:1280px){
.bbm .jobs.with-message{--message:minmax(20em,1.6fr)}
.bbm .jobs td.c-message{grid-column:message;grid-row:1;padding:8px 18px 8px 0}
.bbm .jobs th.c-message{position:static;padding:4px 18px 5px 0;width:auto;height:auto;
clip-path:none;
grid-column:message}
}
}
@media print{.bbm a{text-decoration:none;color:inherit}}
"""

_WIDGET: Final = """
.bbm{padding:4px 2px 10px}
.bbm .head{display:flex;flex-wrap:wrap;gap:4px 24px;align-items:baseline;
justify-content:space-between;margin:0 0 6px}
.bbm .when{color:var(--soft);font-size:12px}
.bbm h3{margin:18px 0 2px;font-size:13px;font-weight:700;color:var(--ink)}
.bbm .head+h3{margin-top:8px}
"""


def widget(*, dark: bool) -> str:
    """The style sheet of the widget, in the theme of the CloudWatch page that it is part of."""
    colors = palette.DARK if dark else palette.LIGHT
    return (
        f".bbm{{{palette.variables(colors)}}}"
        f"{palette.status_rules(dark=dark, within='.bbm')}{SHARED}{_WIDGET}"
    )
