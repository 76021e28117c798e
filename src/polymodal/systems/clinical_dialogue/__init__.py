"""For research, not for care: consultations that ask for what they lack (2505.04653).

Claim
    A state that is kept from turn to turn makes a chat model ask better and end righter than plain prompting;
    pictures that it asks for itself are needed beside the history. Doctors and patients prefer it.
Kept
    Phases, the state with its sources, five calls a turn, gaps, validation, reopening, OSCE-style forms.
Left out
    Its prompts, thresholds, scenarios, ratings: not published, so ours. Its plain arm had fewer calls; ours
    has one with as many. Ours beside it: exact inference over tables, closed forms, controls, budgets.
    Scripted doctors show that the harness tells arms apart, not what a real model reaches; the planted
    weaknesses (`span`: a state mends it, `slip`: votes do) give differences in both directions.
Try
    polymodal run clinical_dialogue                              a generated clinic, offline
    polymodal run clinical_dialogue -o data=CLINIC -o doctor=bayes    your tables, no language model
    polymodal run clinical_dialogue:full -o data=agentclinic/ -o doctor=openai:MODEL@URL -o rater=openai:MODEL
    polymodal run clinical_dialogue -o doctor=openai:MODEL@URL -o "arm=state?gap=eig&calls=merged,plain"
    polymodal run clinical_dialogue -o doctor=bayes:out/clinical_dialogue-1     readers of an earlier run
    polymodal run clinical_dialogue -o data=SCIN_FOLDER          a reader of a set of pictures
    polymodal run clinical_dialogue -o "arm=state,state?memory=OUT"   what an earlier run kept of each patient
    polymodal play clinic                                        you are the doctor (--as patient: the other)
    polymodal study new out/clinical_dialogue-1 --form specialist     the same talks before people, blind;
                                                  --form live: rooms with a person as patient
    polymodal run clinical_dialogue -o rater=people:out/clinical_dialogue-1/study/export    what they said
    inspect eval polymodal/clinical_dialogue --model PROVIDER/MODEL -T arm=plain
Your data
    clinic.json and cases.jsonl or either alone (docs/data.md), the releases of DDXPlus, symptom goals,
    AgentClinic's lines; labelled pictures train readers, as do SCIN, PTB-XL and PAD-UFES-20 alone.
    -o library=FOLDER (.txt, .md, .jsonl) for plans with sources. A run leaves model/ (readers, tables),
    transcripts.jsonl (replayable), states.jsonl, records.jsonl (the page of each talk),
    consultations.jsonl (a row a talk, with its scores), study/.
Measured
    <!-- measured -->
    docs/results/clinical_dialogue.json: mean [95 % interval], closed form where there is one
      T=6: multimodal                              0.720 [0.711, 0.728]  0.740
      T=6: no stop                                 0.719 [0.711, 0.728]  0.740
      T=6: learned stop                            0.709 [0.700, 0.717]
      T=6: retaken                                 0.758 [0.750, 0.766]  0.790
      T=6: text                                    0.369 [0.360, 0.379]  0.380
      T=6: artefacts                               0.371 [0.362, 0.381]  0.370
      T=6: fixed                                   0.281 [0.272, 0.289]  0.270
      T=6: random                                  0.283 [0.275, 0.292]  0.290
      T=6: shuffled                                0.182 [0.174, 0.190]  0.180
      T=10: multimodal                             0.791 [0.783, 0.799]  0.790
      T=10: no stop                                0.791 [0.783, 0.799]  0.780
      T=10: learned stop                           0.784 [0.776, 0.792]
      T=10: retaken                                0.845 [0.837, 0.851]  0.860
      T=10: text                                   0.426 [0.416, 0.436]  0.420
      T=10: artefacts                              0.371 [0.362, 0.381]  0.370
      T=10: fixed                                  0.397 [0.388, 0.407]  0.410
      T=10: random                                 0.360 [0.351, 0.370]  0.350
      T=10: shuffled                               0.243 [0.235, 0.252]  0.250
      T=14: multimodal                             0.808 [0.800, 0.816]  0.820
      T=14: no stop                                0.809 [0.801, 0.816]  0.780
      T=14: learned stop                           0.802 [0.794, 0.809]
      T=14: retaken                                0.865 [0.858, 0.871]  0.870
      T=14: text                                   0.449 [0.439, 0.459]  0.450
      T=14: artefacts                              0.371 [0.362, 0.381]  0.370
      T=14: fixed                                  0.397 [0.388, 0.407]  0.410
      T=14: random                                 0.446 [0.436, 0.456]  0.440
      T=14: shuffled                               0.314 [0.304, 0.323]  0.300
      poor 0.0: plain                              0.870 [0.863, 0.876]  0.860
      poor 0.0: retaken                            0.870 [0.863, 0.876]  0.860
      poor 0.0: quality ignored                    0.870 [0.863, 0.876]  0.860
      poor 0.3: plain                              0.801 [0.793, 0.808]  0.800
      poor 0.3: retaken                            0.858 [0.851, 0.865]  0.860
      poor 0.3: quality ignored                    0.798 [0.790, 0.805]  0.800
      poor 0.6: plain                              0.731 [0.722, 0.740]  0.730
      poor 0.6: retaken                            0.820 [0.812, 0.827]  0.850
      poor 0.6: quality ignored                    0.728 [0.719, 0.736]  0.730
      poor 0.9: plain                              0.660 [0.651, 0.669]  0.690
      poor 0.9: retaken                            0.740 [0.731, 0.748]  0.790
      poor 0.9: quality ignored                    0.664 [0.654, 0.673]  0.620
      reader of lesions: good                      0.862 [0.819, 0.896]
      reader of lesions: poor                      0.610 [0.540, 0.676]
      reader of traces: good                       0.984 [0.962, 0.993]
      reader of traces: poor                       0.851 [0.795, 0.894]
      read: multimodal                             0.870 [0.790, 0.922]
      read: no retake                              0.800 [0.711, 0.867]
      read: text                                   0.380 [0.291, 0.478]
      read: artefacts                              0.390 [0.300, 0.488]
      read: shuffled                               0.170 [0.109, 0.255]
      read: blank                                  0.370 [0.282, 0.468]
      late: reopened and minded                    1.000 [0.701, 1.000]  1.000
      rigid: reopened                              0.000 [0.000, 0.299]  0.000
      planted claims found                         1.000 [0.929, 1.000]  1.000
      false alarms                                 0.000 [0.000, 0.007]  0.000
      scripted:clinic?span=4 state: top1           0.900 [0.799, 0.953]
      scripted:clinic?span=4 plain: top1           0.667 [0.541, 0.773]
      scripted:clinic?span=4 plain_matched: top1   0.667 [0.541, 0.773]
      scripted:clinic?span=4 scrambled: top1       0.083 [0.036, 0.181]
      scripted:clinic?span=4 again: top1           0.900 [0.799, 0.953]
      scripted:clinic?span=4 forgotten: top1       0.717 [0.592, 0.815]
      state - plain, top-1                         0.233 [0.117, 0.350]
      state - plain_matched, top-1                 0.233 [0.117, 0.350]
      state - plain_matched, fact recall           0.030 [0.006, 0.056]
      scrambled - plain, top-1                     -0.583 [-0.717, -0.450]
      state - scrambled, top-1                     0.817 [0.700, 0.900]
      again - forgotten, top-1                     0.183 [0.083, 0.283]
      again - state, top-1                         0.000 [0.000, 0.000]
      scripted:clinic?slip=0.3 state: top1         0.567 [0.441, 0.684]
      scripted:clinic?slip=0.3 plain: top1         0.650 [0.524, 0.758]
      scripted:clinic?slip=0.3 plain_matched: top1 0.867 [0.758, 0.931]
      scripted:clinic state: top1                  0.900 [0.799, 0.953]
      scripted:clinic plain: top1                  0.883 [0.778, 0.942]
      scripted:clinic plain_matched: top1          0.883 [0.778, 0.942]
      reproduced: state-aware beats plain prompting (at equal calls; the model forgets) (paper: -, not
        at equal calls)
      reproduced: a scrambled state gains nothing (paper: ours)
      reproduced: history and artefacts are both needed (paper: -)
      reproduced: questions directed by uncertainty beat fixed and random ones (paper: -)
      reproduced: random < frequent < information gain (paper: ours)
      reproduced: retakes flatten the quality curve (paper: -)
      reproduced: stopping by confidence saves 15 % of the turns (a stop learned on other patients)
        (paper: -)
      not reproduced: stopping at a belief of .90 saves 15 % (paper: -)
      reproduced: a learned stop saves 40 % of 10 turns and more for 2 points (paper: ours)
      not reproduced: it saves 40 % of 6 turns for 2 points (paper: ours)
      reproduced: pictures that are drawn and read are needed too (paper: -)
      reproduced: unsupported claims are all found, without false alarm (paper: -)
      reproduced: late news reopens the history, and only where it may (paper: ours)
      reproduced: what is kept of a visit makes the next one righter (paper: ours)
      undetermined: doctors and patients prefer it (paper: 29 of 32 axes, 7 of 9 multimodal)
    <!-- /measured -->
"""
