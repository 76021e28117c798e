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
    docs/results/user_trust.json: mean [95 % interval], closed form where there is one
      none: rair                                   0.610 [0.584, 0.637]  0.599
      none: rsr                                    0.616 [0.589, 0.647]  0.599
      none: d'                                     0.565 [0.477, 0.665]  0.500
      none: final accuracy                         0.766 [0.742, 0.794]  0.759
      confidence: rair                             0.775 [0.747, 0.800]  0.773
      confidence: rsr                              0.773 [0.748, 0.796]  0.773
      confidence: d'                               1.491 [1.380, 1.594]  1.500
      confidence: final accuracy                   0.828 [0.803, 0.852]  0.829
      explanation: rair                            0.757 [0.732, 0.782]  0.773
      explanation: rsr                             0.420 [0.389, 0.452]  0.401
      explanation: d'                              0.497 [0.396, 0.607]  0.500
      explanation: final accuracy                  0.760 [0.725, 0.797]  0.761
      card: rair                                   0.600 [0.521, 0.680]
      card: rsr                                    0.823 [0.734, 0.922]
      card: d'                                     1.131 [0.743, 1.555]
      card: final accuracy                         0.803 [0.772, 0.837]  0.800
      confidence - none: d'                        0.925 [0.783, 1.073]
      explanation - none: d'                       -0.068 [-0.200, 0.063]
      card - none: d'                              0.566 [0.176, 1.011]
      blind: d'                                    0.005 [-0.094, 0.090]  0.000
      shuffled advice: d'                          -0.026 [-0.123, 0.070]  0.000
      global: final accuracy                       0.737 [0.676, 0.792]
      never: final accuracy                        0.708 [0.696, 0.719]
      card - global: final accuracy                0.067 [0.018, 0.116]
      equal rates: card - global                   0.000 [0.000, 0.000]  0.000
      bots - people: d'                            -1.007 [-1.199, -0.821]
      learning: up                                 0.101 [0.098, 0.103]  0.100
      learning: down                               0.301 [0.295, 0.308]  0.300
      learning: down - up                          0.201 [0.196, 0.206]  0.200
      learning: stationary                         0.579 [0.561, 0.596]  0.571
      learning: half-life                          6.542 [6.396, 6.688]  6.579
      attitude: d'                                 0.012 [-0.054, 0.069]  0.000
      attitude: trust and relying                  -0.087 [-0.254, 0.082]  0.000
      attitude: trust and propensity               0.423 [0.230, 0.584]  0.400
      null study: pooled z rejects                 0.557 [0.536, 0.579]  0.560
      null study: person-level rejects             0.046 [0.038, 0.057]  0.050
      scale of 12: alpha                           0.834 [0.806, 0.856]  0.837
      scale of 3: alpha                            0.781 [0.739, 0.816]  0.750
      straight lines: flagged                      1.000 [0.912, 1.000]  1.000
      coding: all                                  0.346 [0.311, 0.378]  0.360
      card, all: accuracy                          0.738 [0.678, 0.789]
      card, all: confidence error                  -0.000 [-0.051, 0.051]
      card, all: abstention                        0.000 [0.000, 0.016]
      reproduced: explanations move reliance, not discrimination (paper: RAIR 29.6 to 38.9 % (p .05),
        RSR 71.9 to 69.5 % (p .54), Schemmer 2023)
      reproduced: calibrated confidence raises discrimination (paper: -)
      reproduced: cues by capability beat a global score (paper: -)
      reproduced: trust falls faster than it grows (paper: -)
      reproduced: stated trust is not reliance (paper: -)
      reproduced: a model cannot stand in for users (paper: ours)
      reproduced: the taxonomy can be coded (paper: ours)
    <!-- /measured -->
"""
