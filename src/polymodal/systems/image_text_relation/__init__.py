"""Does a picture add to a post's text, and show it? In many languages (arXiv 2505.05040).

Claim
    Newer vision-language models tell image-text relations of tweets better, with much room left; Latvian
    posts were translated by people, and the test set of 350 posts balanced. Scores are not verified here.
Kept
    The two questions (A: does the picture add to the meaning, B: is the text represented in it), one call
    each, yes or no; four classes from two answers; the balanced subset; originals beside translations.
Left out
    The published prompts (ours are in prompts.json), the tweets, the model list. Of our own plan: a pocket
    model that is trained here to look, shared key and value prefixes of local models.
    Ours beside it: abstentions counted and never coerced, one question against two, thresholds on P(yes),
    seven probes of form and bias, text priors that must be beaten, fusions trained on both sides.
Try
    polymodal run image_text_relation                            planted posts, simulated subjects, offline
    polymodal run image_text_relation:full -o data=ltec/ -o languages=lv,en -o target=openai:MODEL@URL
    polymodal run image_text_relation:full -o data=tirt/ -o languages=en -o arm=trained
    polymodal run image_text_relation -o data=../shared/data/nlvr_dev -o languages=en -o target=local:FOLDER
    inspect eval polymodal/image_text_relation --model openai/MODEL
Your data
    LTEC: a JSON list of file_name, relation 0 to 3, tweet_id and text beside the pictures; its translation
    file joined by id. Ids that lost digits are mended by the picture's name (tag `repaired`). TIRT:
    textimage.csv, with your texts.csv (tweet_id, text) and images/ID.jpg. NLVR: dev.json and images/.
    polymodal folders: text, image, target 0 to 3, tags language and pair. Classes: 0 adds and represented,
    1 adds, 2 represented, 3 neither. Reposts and near-duplicates leave before the balanced n are drawn.
    A run leaves answers.parquet (every reply), relations.csv (P(adds), P(represented), class of each post),
    benchmark/ids.csv, model/, report/ with the posts on which languages part.
Measured
    <!-- measured -->
    docs/results/image_text_relation.json: mean [95 % interval], closed form where there is one
      accuracy                                     0.875 [0.839, 0.904]  0.895
      lv/relation                                  0.875 [0.839, 0.904]  0.895
      en/relation                                  0.875 [0.839, 0.904]  0.895
      en-mt/relation                               0.790 [0.747, 0.827]  0.806
      lv/relation?bias=.2                          0.757 [0.713, 0.797]  0.734
      en/relation?bias=.2                          0.757 [0.713, 0.797]  0.734
      en-mt/relation?bias=.2                       0.693 [0.646, 0.736]  0.670
      lv/relation?see=.6&read=.6                   0.610 [0.561, 0.657]  0.615
      en/relation?see=.6&read=.6                   0.610 [0.561, 0.657]  0.615
      en-mt/relation?see=.6&read=.6                0.575 [0.526, 0.623]  0.568
      lv - en                                      0.000 [0.000, 0.000]
      lv - en-mt                                   0.085 [0.060, 0.115]
      en - en-mt                                   0.085 [0.060, 0.115]
      two questions - one                          0.000 [0.000, 0.000]
      probe/swapped                                0.223 [0.184, 0.266]  0.250
      probe/blank                                  0.250 [0.210, 0.295]  0.250
      probe/picture alone                          0.247 [0.208, 0.292]  0.250
      probe/text alone                             0.250 [0.210, 0.295]  0.250
      probe/yes-bias by negation                   0.000 [0.000, 0.000]  0.000
      probe/orders in the text obeyed              0.000 [0.000, 0.021]
      majority                                     0.250 [0.210, 0.295]
      char n-grams                                 0.225 [0.187, 0.268]
      first subject - best text-only baseline      0.625 [0.571, 0.677]
      flattery, skewed - balanced set              0.129 [0.095, 0.163]  0.105
      trained/joint - best single, adds            0.261 [0.221, 0.299]
      trained/joint - best single, represented     0.229 [0.189, 0.270]
      undetermined: newer vision-language checkpoints do better, with much room left (paper: -)
      reproduced: manual translation beats machine translation (paper: -)
      reproduced: balanced test sets are fairer (paper: 350 posts)
      reproduced: a zero-shot model must beat a text prior (paper: ours)
      reproduced: text and picture together are best, for each question (paper: -)
      undetermined: it matters whether two questions are asked or one (paper: ours)
    <!-- /measured -->
"""
