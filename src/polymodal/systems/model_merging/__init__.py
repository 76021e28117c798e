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
    polymodal run model_merging -o vlm=local:pocket-lm -o llm=local:pocket-reasoner -o data=FILE
    polymodal merge local:VLM local:LLM --method linear --weight 0.9 --to out/merged --dry-run --diagnose
    polymodal run model_merging:full -o vlm=local:VLM -o llm=local:LLM -o data=mathvista.tsv -o weight=0.9
    polymodal run model_merging:full -o target=local:out/merged -o donors= -o data=questions/samples.jsonl
    polymodal run model_merging:full -o vlm=local:out/merged -o donors= -o base=BASE -o perception=p.jsonl
        -o reasoning=r.jsonl -o knock=mask,revert                which layers one's own model needs
    polymodal chat local:pocket-vlm "what colour is the star?" examples/scene.png
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
    docs/results/model_merging.json: mean [95 % interval], closed form where there is one
      planted/held-out sums: λ 0.85 - 1            0.015 [0.002, 0.039]
      planted/see: λ 0.85 - 1                      0.000 [0.000, 0.000]
      planted/seen sums: λ 0.85 - 1                0.000 [0.000, 0.000]
      planted/text sums: λ 0.85 - 1                0.021 [0.017, 0.031]
      planted/held-out sums: λ 0.7 - 1             0.025 [0.006, 0.058]
      planted/see: λ 0.7 - 1                       0.000 [0.000, 0.000]
      planted/seen sums: λ 0.7 - 1                 0.000 [0.000, 0.000]
      planted/text sums: λ 0.7 - 1                 0.057 [0.047, 0.065]
      planted/held-out sums: λ 0.5 - 1             0.040 [0.017, 0.072]
      planted/see: λ 0.5 - 1                       0.000 [0.000, 0.000]
      planted/seen sums: λ 0.5 - 1                 0.000 [0.000, 0.000]
      planted/text sums: λ 0.5 - 1                 0.168 [0.133, 0.202]
      planted/held-out sums: λ 0.25 - 1            0.071 [0.037, 0.109]
      planted/see: λ 0.25 - 1                      0.000 [0.000, 0.000]
      planted/seen sums: λ 0.25 - 1                -0.007 [-0.016, 0.000]
      planted/text sums: λ 0.25 - 1                0.619 [0.587, 0.674]
      planted/held-out sums: λ 0 - 1               0.129 [0.096, 0.182]
      planted/see: λ 0 - 1                         -0.004 [-0.014, 0.000]
      planted/seen sums: λ 0 - 1                   -0.037 [-0.051, -0.027]
      planted/text sums: λ 0 - 1                   0.706 [0.643, 0.766]
      planted/held-out sums: all layers - early    0.013 [0.007, 0.023]
      planted/held-out sums: all layers - late     0.026 [0.013, 0.045]
      planted/control: see shuffled                0.065 [0.058, 0.072]  0.062
      planted/control: see blank                   0.067 [0.060, 0.073]  0.062
      planted/control: base - target               -0.001 [-0.004, 0.000]
      planted/control: copying donor - target      -0.000 [-0.001, 0.000]
      planted/control: foreign donor - target      -0.216 [-0.268, -0.147]
      place/drop of untouched layers               0.000 [0.000, 0.000]  0.000
      place/share in planted layers                1.000 [1.000, 1.000]  1.000
      place/centre: perception - reasoning         -0.652 [-0.671, -0.635]
      pocket/perception: λ 0.9 - 1                 0.025 [0.000, 0.058]
      pocket/seen sums: λ 0.9 - 1                  0.000 [-0.025, 0.025]
      pocket/held-out sums: λ 0.9 - 1              0.000 [0.000, 0.000]
      pocket/two-step: λ 0.9 - 1                   0.000 [0.000, 0.000]
      pocket/text-dominant: λ 0.9 - 1              -0.008 [-0.025, 0.000]
      pocket/text problems: λ 0.9 - 1              0.050 [0.017, 0.092]
      pocket/perception: λ 0.85 - 1                0.000 [-0.042, 0.042]
      pocket/seen sums: λ 0.85 - 1                 0.000 [-0.025, 0.025]
      pocket/held-out sums: λ 0.85 - 1             0.000 [0.000, 0.000]
      pocket/two-step: λ 0.85 - 1                  0.000 [0.000, 0.000]
      pocket/text-dominant: λ 0.85 - 1             0.008 [-0.017, 0.042]
      pocket/text problems: λ 0.85 - 1             0.058 [0.017, 0.108]
      pocket/perception: λ 0.8 - 1                 -0.025 [-0.083, 0.033]
      pocket/seen sums: λ 0.8 - 1                  0.000 [-0.025, 0.025]
      pocket/held-out sums: λ 0.8 - 1              -0.008 [-0.027, 0.000]
      pocket/two-step: λ 0.8 - 1                   -0.008 [-0.025, 0.000]
      pocket/text-dominant: λ 0.8 - 1              0.008 [-0.017, 0.033]
      pocket/text problems: λ 0.8 - 1              0.092 [0.042, 0.150]
      pocket/perception: λ 0.5 - 1                 -0.258 [-0.342, -0.167]
      pocket/seen sums: λ 0.5 - 1                  -0.042 [-0.085, 0.008]
      pocket/held-out sums: λ 0.5 - 1              -0.058 [-0.108, -0.017]
      pocket/two-step: λ 0.5 - 1                   0.025 [-0.008, 0.067]
      pocket/text-dominant: λ 0.5 - 1              0.058 [0.017, 0.108]
      pocket/text problems: λ 0.5 - 1              0.292 [0.200, 0.375]
      pocket/perception: λ 0 - 1                   -0.467 [-0.558, -0.367]
      pocket/seen sums: λ 0 - 1                    -0.867 [-0.925, -0.800]
      pocket/held-out sums: λ 0 - 1                -0.183 [-0.267, -0.100]
      pocket/two-step: λ 0 - 1                     0.025 [-0.027, 0.083]
      pocket/text-dominant: λ 0 - 1                0.417 [0.315, 0.525]
      pocket/text problems: λ 0 - 1                0.650 [0.558, 0.742]
      pocket/held-out sums: ties_count - linear    0.000 [-0.025, 0.025]
      pocket/held-out sums: dare_linear - linear   -0.100 [-0.158, -0.042]
      pocket/gain: text-dominant - vision-only     0.117 [0.058, 0.183]
      pocket/control: pocket-lm as donor - target  -0.042 [-0.083, -0.008]
      pocket/control: permuted as donor - target   -0.208 [-0.292, -0.133]
      pocket/perception: protected - plain, λ 0.5  0.008 [-0.017, 0.033]
      pocket/held-out sums: protected - plain, λ 0.5 0.025 [0.000, 0.058]
      pocket/centre: perception - reasoning        0.042 [-0.018, 0.101]
      reproduced: merging a text reasoner raises reasoning about pictures, untrained (planted) (paper:
        +3.6 MathVerse)
      not reproduced: the same of the pocket models (paper: +3.5 MathVista Math)
      reproduced: perception keeps or dips (planted, λ 0.5) (paper: 51.7 to 48.7)
      undetermined: perception keeps or dips (pocket, λ 0.8) (paper: 51.7 to 48.7)
      reproduced: merging early or late layers alone gains less (paper: ours)
      reproduced: gains with the numbers in words exceed those from pictures alone (paper: +4.8 against
        +1.4)
      not reproduced: linear, ties and dare are alike (λ 0.8) (paper: 38.0 / 37.1 / -)
      undetermined: perception sits before reasoning (paper: first third)
      reproduced: knock-outs find planted layers (paper: ours)
      not reproduced: it does not help every pair: a donor of another initialisation (paper: 61.2 to
        60.2)
    <!-- /measured -->
"""
