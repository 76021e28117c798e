"""User trust: when people rely on a vision model, and when they should (arXiv 2505.05318).

Claim
    A survey: trust in vision-language models along three axes (capabilities, collaboration modes, behaviours
    of the agent), with users' requirements. It has no algorithm; what it asks for is built here.
Kept
    The three axes as an editable taxonomy; trust bound to context, over time, apart from what people do.
Left out
    The survey's own leaves and requirement list (unverified; ours are marked so) and the wording of scales
    that is not free: only their keys are here. Ours: advice trials, learning of trust, the pocket people.
Try
    polymodal run user_trust                                       planted advisor and people, offline
    polymodal run user_trust:full -o target=openai:MODEL@URL -o data=items/ -o displays=none,confidence,card
    polymodal run user_trust -o data=trials.csv -o columns=relied:COL,advice_correct:COL
    polymodal run user_trust -o data=EXPORT                        what real people did, from a study's export
Your data
    Items: samples.jsonl with id, group, image (or audio, video), question, options (a line each), target and
    tags.capability. Trials: .jsonl, .parquet or .csv with rater and truth, advice, initial, final (or
    advice_correct, relied); item, order, capability, mode, display, trust (1-7) where there are any. Ratings:
    item, value (rater, subject, field); fields named jian-1 ... are scored by their key. Codings: study,
    coder, axis, leaves. Pairs: first, second, outcome (1, 0, .5). -o columns=item:COL,value:COL names them.
    Rows of simulated people say so in `source`, the report on its first line. -o study=true writes a study
    for real people: polymodal study serve out/user_trust-1/study.json.
Measured
    <!-- measured -->
    <!-- /measured -->
"""
