"""For research, not for care: consultations that ask for what they do not yet know (arXiv 2505.04653).

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
    polymodal play clinic                                        you are the doctor (--as patient: the other)
    polymodal study new out/clinical_dialogue-1 --form specialist     the same talks before people, blind
Your data
    clinic.json and cases.jsonl (docs/data.md), the releases of DDXPlus, symptom goals, AgentClinic's lines;
    -o library=FOLDER (.txt, .md, .jsonl) for plans with sources. A run leaves model/ (readers),
    transcripts.jsonl (replayable), records.jsonl (the page of each talk), consultations.jsonl, study/.
Measured
    <!-- measured -->
    Nothing yet.
    <!-- /measured -->
"""
