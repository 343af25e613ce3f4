"""The style sheet of the widget, and the rules that the report shares with it."""

from __future__ import annotations

from typing import Final

from bedrock_batch_monitor.presentation import palette

# Every rule is limited to one class, because the widget is part of a CloudWatch page.
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
.bbm .jobs{table-layout:fixed}
.bbm .jobs td{overflow-wrap:anywhere}
.bbm .jobs .name{font-weight:600}
.bbm .c-status{width:152px}
.bbm .c-job{width:27%}
.bbm .c-records{width:236px}
.bbm .c-ends{width:134px}
.bbm .c-times{width:136px}
.bbm .c-output{width:66px}
.bbm .nothing{margin:0;padding:14px 0;color:var(--soft)}
.bbm .more-jobs{margin:8px 0 0;color:var(--soft)}
@container (max-width:900px){
.bbm .jobs thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.bbm .jobs,.bbm .jobs tbody{display:block}
.bbm .jobs tr{display:grid;grid-template-columns:minmax(0,1fr) fit-content(55%);
gap:3px 14px;padding:11px 0;
border-bottom:1px solid var(--line)}
.bbm .jobs td{display:block;width:auto;padding:0;border:0}
.bbm .jobs td:empty{display:none}
.bbm .jobs .c-job{grid-column:1;grid-row:1}
.bbm .jobs .c-status{grid-column:2;grid-row:1;text-align:right}
.bbm .jobs .c-records{grid-column:1/-1}
.bbm .jobs .c-message{grid-column:1/-1}
.bbm .jobs .c-ends{grid-column:1}
.bbm .jobs .c-times{grid-column:2;text-align:right}
.bbm .jobs.active .c-ends:not(:empty)::before{content:"Ends "}
.bbm .jobs.active .c-times:not(:empty)::after{content:" in this status"}
.bbm .jobs.ended .c-ends:not(:empty)::before{content:"Ended "}
.bbm .jobs.ended .c-times:not(:empty)::before{content:"took "}
.bbm .badge{margin:3px 0 0 4px}
}
@media print{.bbm a{text-decoration:none;color:inherit}}
"""

_WIDGET: Final = """
.bbm{padding:4px 2px 10px}
.bbm .head{display:flex;flex-wrap:wrap;gap:4px 24px;align-items:baseline;
justify-content:space-between;margin:0 0 6px}
.bbm .when{color:var(--soft);font-size:12px}
.bbm h3{margin:16px 0 2px;font-size:13px;font-weight:700;color:var(--ink)}
.bbm .head+h3{margin-top:8px}
"""


def widget(*, dark: bool) -> str:
    """The style sheet of the widget, in the theme of the CloudWatch page that it is part of."""
    colors = palette.DARK if dark else palette.LIGHT
    return (
        f".bbm{{{palette.variables(colors)}}}"
        f"{palette.status_rules(dark=dark, within='.bbm')}{SHARED}{_WIDGET}"
    )
