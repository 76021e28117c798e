"""Does merging with a model that reasons teach one that sees to reason? (2505.05464).

Claim
    The weights of a vision-language model's decoder, averaged with those of a text reasoner of the same base,
    reason better about pictures without any training; perception is kept. Perception sits in early layers,
    reasoning in the middle and late ones; after merging all layers serve reasoning.
Kept
    The linear merge of decoder layers with weight λ on the target, embeddings and tower the target's own;
    sweep of λ; ties, dare and layer swap; knock-outs of attention and MLP, masked and uniform.
Left out
    The published checkpoints, their benchmarks' pictures and judges. The reference knocks out before it loads
    the merged weights; here it is the final ones. Ours beside it: planted toys with known places, knock-out
    by reverting to the base, intervals, equivalence, controls (base, copying, foreign and permuted donors,
    shuffled and blank pictures), a weight chosen on other questions, deltas that spare the pictures.
Try
    polymodal run model_merging                                  toys and pocket models, offline
    polymodal run model_merging -o experiment=planted -o seeds=5
    polymodal merge local:VLM local:LLM --method linear --weight 0.9 --to out/merged --dry-run --diagnose
    polymodal run model_merging:full -o vlm=local:VLM -o llm=local:LLM -o data=mathvista.tsv -o weight=0.9
    polymodal run model_merging:full -o target=local:out/merged -o donors= -o data=questions/samples.jsonl
    polymodal run model_merging:full -o vlm=local:out/merged -o donors= -o base=BASE -o perception=p.jsonl
        -o reasoning=r.jsonl -o knock=mask,revert                which layers one's own model needs
    polymodal run model_merging:weights -o target=pocket-lm      how the pocket models were made
Your data
    Models: folders as save_pretrained writes them (safetensors), or hub names; a base for ties and dare.
    Questions: samples.jsonl with id, image, prompt, target, tags set and choices ("ABCD"), group for what
    must be resampled together; or a .tsv table: index, image (base64), question, answer, A to D, category.
    -o perception= and -o reasoning= give two files their sets. A run leaves model/ (the merge, with its
    merge.json), answers.parquet, attribution.parquet (drop by model, mode, module, layer and set), and a
    report with curves by λ and by layer.
Measured
    <!-- measured -->
    Nothing yet.
    <!-- /measured -->
"""
