"""REVEAL: many-turn talks with pictures, judged for harm and refusal (arXiv 2505.04673).

Claim
    Many turns raise defects over one turn and lower refusals; models differ; the index weighs both.
Kept
    The set's creation (phrases, picture, seed, turns, text port), its variants, judge fields and files.
Left out
    Released texts, pictures, rubrics; web search; `eval`; verdict files. Ours beside it: fresh chats a turn,
    harmless twins, backtracking attacks, corrected rates, named indices, curves by turn.
Try
    polymodal run harm_evaluation                                   scripted subjects with known rates
    polymodal run harm_evaluation -o target=openai:MODEL@URL -o judge=openai:gpt-4o
    polymodal run harm_evaluation -o data=policies.jsonl -o images=my/ -o attacker=MODEL -o authorised=true
Your data
    samples.jsonl (id, group, turns, image, image_turn, target: a policy's id, seed, port, tags) beside
    policies.jsonl (id, harm, name, rule, judge_note; pattern for judge=rule); tag twin_of names a twin.
    ConvGen/*.tsv, ConvGenTextPorted/*.tsv, run files. labelled: case (subject|item|variant), rater, score,
    value. A run leaves labels.parquet, replies.parquet (digests; store=full: words), attacks.parquet.
Measured
    <!-- measured -->
    <!-- /measured -->
"""
