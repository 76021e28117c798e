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
    value. A run leaves labels, replies (digests; store=full: words) and attacks.parquet (attack=IT: again).
Measured
    <!-- measured -->
    docs/results/harm_evaluation.json: mean [95 % interval], closed form where there is one
      balanced/DR mt                               0.131 [0.100, 0.169]  0.175
      balanced/DR st                               0.042 [0.025, 0.068]  0.045
      balanced/H                                   0.899 [0.877, 0.921]  0.880
      open/DR mt                                   0.317 [0.271, 0.366]  0.329
      open/DR st                                   0.086 [0.061, 0.120]  0.100
      open/H                                       0.801 [0.766, 0.832]  0.795
      strict/DR mt                                 0.156 [0.122, 0.197]  0.186
      strict/DR st                                 0.033 [0.019, 0.057]  0.038
      strict/H                                     0.794 [0.766, 0.821]  0.788
      blind/DR mt                                  0.253 [0.211, 0.300]  0.282
      blind/DR st                                  0.064 [0.043, 0.094]  0.079
      blind/H                                      0.829 [0.799, 0.857]  0.816
      steady/DR mt                                 0.131 [0.100, 0.169]  0.164
      steady/DR st                                 0.092 [0.066, 0.126]  0.112
      steady/H                                     0.841 [0.815, 0.867]  0.837
      always_refuse/DR mt                          0.000 [0.000, 0.011]  0.000
      always_refuse/H                              0.000 [0.000, 0.000]  0.000
      always_answer/DR mt                          1.000 [0.989, 1.000]  1.000
      always_answer/H                              0.000 [0.000, 0.000]  0.000
      reproduced: multi-turn raises defects over single-turn (paper: significant)
      reproduced: multi-turn lowers refusals, by history alone (paper: -)
      reproduced: one model leads in defects, another in refusals (paper: .1655, .191)
      reproduced: one model is best on the index (paper: GPT-4o)
      reproduced: misinformation is the weakest harm (paper: -)
      reproduced: the picture adds harm beyond its text port (paper: -)
      undetermined: careful models are misplaced by adversarial refusals (paper: ours)
    <!-- /measured -->
"""
