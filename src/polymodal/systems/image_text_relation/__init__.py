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
    <!-- /measured -->
"""
