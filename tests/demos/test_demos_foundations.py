"""The demos of appendix A and chapters 2, 3 and 4 print the book's own figures.

Each demo runs once, as a reader would run it, with warnings as errors. What it prints is then held against a table:
the section, the words before the figures, the figures, and who printed them: BOOK for the book and its public
repository, TORCH for PyTorch 2.13, on which the same steps were run by hand where the book shows no numbers.
"""

import re
from pathlib import Path

import pytest
from demo_figures import BANNER, TORCH, Figure, check, run

SLOW_CHAPTER_4 = pytest.param("ch04_gpt", marks=pytest.mark.slow)

APPENDIX_A = [
    Figure("A.2.1", "after writing 999 into the array: copied", "1"),
    Figure("A.2.1", "shared", "999"),
    Figure("A.2.3", "times its transpose", "14 32 32 77"),
    Figure("A.3", "loss", "0.0852"),
    Figure("A.4", "backward: dL/dw", "-0.0898"),
    Figure("A.4", "backward: dL/dw -0.0898, dL/db", "-0.0817"),
    Figure("A.5", "trainable parameters", "2213"),
    Figure("A.5", "first weight, shape (30, 50)", "-0.0577 0.0047 -0.0702 0.0222 0.1260 0.0865"),
    Figure("A.5", "logits with their graph", "-0.1262 0.1080 -0.1792"),
    Figure("A.5", "logits without a graph", "-0.1262 0.1080 -0.1792"),
    Figure("A.5", "class probabilities", "0.3113 0.3934 0.2952"),
    Figure("A.6", "batch 1, labels", "1 0 2.3 -1.1 -0.9 2.9"),
    Figure("A.6", "batch 2, labels", "0 0 -1.2 3.1 -0.5 2.6"),
    Figure("A.6", "batch 3, labels", "1 2.7 -1.5"),
    Figure("A.6", "full batch 1, labels", "0 0 -1.2 3.1 -0.5 2.6"),
    Figure("A.6", "full batch 2, labels", "1 0 2.3 -1.1 -0.9 2.9"),
    Figure("A.7", "epoch 1/3, batch 1/2: loss", "0.75"),
    Figure("A.7", "epoch 1/3, batch 2/2: loss", "0.65"),
    Figure("A.7", "epoch 2/3, batch 1/2: loss", "0.44"),
    Figure("A.7", "epoch 2/3, batch 2/2: loss", "0.13"),
    Figure("A.7", "epoch 3/3, batch 1/2: loss", "0.03"),
    Figure("A.7", "epoch 3/3, batch 2/2: loss", "0.00"),
    Figure("A.7", "logits:", "2.8569 -4.1618 2.5382 -3.7548 2.0944 -3.1820 -1.4814 1.4816 -1.7176 1.7342"),
    Figure("A.7", "probabilities:", "0.9991 0.0009 0.9982 0.0018 0.9949 0.0051 0.0491 0.9509 0.0307 0.9693"),
    Figure("A.7", "predicted classes", "0 0 0 1 1"),
    Figure("A.7", "accuracy: training", "1.0"),
    Figure("A.7", "accuracy: training 1.0, test", "1.0"),
    Figure("A.7", "exercise A.3:", "752"),
]
CHAPTER_2 = [
    Figure("2.2", "number of characters", "20479"),
    Figure("2.2", "number of word tokens", "4690"),
    Figure("2.3", "vocabulary:", "1130"),
    Figure("2.3", "('Hermia',", "50"),
    Figure("2.3", "pride.\n->", "1 56 2 850 988 602 533 746 5 1126 596 5 1 67 7 38 851 1108 754 793 7"),
    Figure("2.4", "vocabulary:", "1132"),
    Figure("2.4", "('<|endoftext|>',", "1130"),
    Figure("2.4", "palace.\n->", "1131 5 355 1126 628 975 10 1130 55 988 956 984 722 988 1131 7"),
    Figure(
        "2.5",
        "Place.\n->",
        "15496 11 466 345 588 8887 30 220 50256 554 262 4252 18250 8812 2114 1659 617 34680 27271 13",
    ),
    Figure("2.5", "'Akwirw ier' ->", "33901 86 343 86 220 959"),
    Figure("2.6", "the text has", "5145"),
    Figure("2.6", "tokens 50 to 54:", "290 4920 2241 287 257"),
    Figure("2.6", "stride 1, first batch:", "40 367 2885 1464 367 2885 1464 1807"),
    Figure("2.6", "stride 1, second batch:", "367 2885 1464 1807 2885 1464 1807 3619"),
    Figure(
        "2.6",
        "stride 4, eight windows:",
        "40 367 2885 1464 1807 3619 402 271 10899 2138 257 7026 15632 438 2016 257 "
        "922 5891 1576 438 568 340 373 645 1049 5975 284 502 284 3285 326 11",
    ),
    Figure(
        "2.6",
        "their targets:",
        "367 2885 1464 1807 3619 402 271 10899 2138 257 7026 15632 438 2016 257 922 "
        "5891 1576 438 568 340 373 645 1049 5975 284 502 284 3285 326 11 287",
    ),
    Figure("2.6", "exercise 2.2, length 2, stride 2:", "40 367 2885 1464 1807 3619 402 271"),
    Figure(
        "2.6",
        "exercise 2.2, length 8, stride 2:",
        "40 367 2885 1464 1807 3619 402 271 2885 1464 1807 3619 402 271 10899 2138 "
        "1807 3619 402 271 10899 2138 257 7026 402 271 10899 2138 257 7026 15632 438",
    ),
    Figure(
        "2.7",
        "table:",
        "0.3374 -0.1778 -0.1690 0.9178 1.5810 1.3010 1.2753 -0.2010 -0.1606 "
        "-0.4015 0.9666 -1.1481 -1.1589 0.3255 -0.6315 -2.8400 -0.7849 -1.4096",
    ),
    Figure("2.7", "of id 3:", "-0.4015 0.9666 -1.1481"),
    Figure("2.7", "of ids 2, 3, 5, 1:", "1.2753 -0.2010 -0.1606 -0.4015 0.9666 -1.1481 -2.8400 -0.7849 -1.4096 0.9178"),
    Figure("2.8", "token embeddings, shape (8, 4, 256):", "0.4913 1.1239 1.4588 -0.3995 -1.8735 -0.1445", TORCH),
    Figure("2.8", "position embeddings, shape (4, 256):", "1.7375 -0.5620 -0.6303 -0.2277 1.5748 1.0345", TORCH),
    Figure("2.8", "their sum, shape (8, 4, 256):", "2.2288 0.5619 0.8286 -0.6272 -0.2987 0.8900", TORCH),
    Figure("2.8", "token embeddings, shape", "8 4 256"),
    Figure("2.8", "position embeddings, shape", "4 256"),
    Figure("2.8", "their sum, shape", "8 4 256"),
]
CAUSAL = "-0.4519 0.2216 -0.5874 0.0058 -0.6300 -0.0632 -0.5675 -0.0843 -0.5526 -0.0981 -0.5299 -0.1081 "
TWO_HEADS = (
    "-0.4519 0.2216 0.4772 0.1063 -0.5874 0.0058 0.5891 0.3257 -0.6300 -0.0632 0.6202 0.3860 "
    "-0.5675 -0.0843 0.5478 0.3589 -0.5526 -0.0981 0.5321 0.3428 -0.5299 -0.1081 0.5077 0.3493 "
)
SPLIT_HEADS = "0.3190 0.4858 0.2943 0.3897 0.2856 0.3593 0.2693 0.3873 0.2639 0.3928 0.2575 0.4028 "
CAUSAL_WEIGHTS = (
    "1.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.5517 0.4483 0.0000 0.0000 0.0000 0.0000 "
    "0.3800 0.3097 0.3103 0.0000 0.0000 0.0000 0.2758 0.2460 0.2462 0.2319 0.0000 0.0000 "
    "0.2175 0.1983 0.1984 0.1888 0.1971 0.0000 0.1935 0.1663 0.1666 0.1542 0.1666 0.1529"
)
CHAPTER_3 = [
    Figure("3.3.1", "scores of 'journey':", "0.9544 1.4950 1.4754 0.8434 0.7070 1.0865"),
    Figure("3.3.1", "the first one by hand:", "0.9544"),
    Figure("3.3.1", "divided by their sum:", "0.1455 0.2278 0.2249 0.1285 0.1077 0.1656"),
    Figure("3.3.1", "softmax, as written:", "0.1385 0.2379 0.2333 0.1240 0.1082 0.1581"),
    Figure("3.3.1", "softmax, package's:", "0.1385 0.2379 0.2333 0.1240 0.1082 0.1581"),
    Figure("3.3.1", "context vector:", "0.4419 0.6515 0.5683"),
    Figure(
        "3.3.2",
        "scores of all pairs:",
        "0.9995 0.9544 0.9422 0.4753 0.4576 0.6310 0.9544 1.4950 1.4754 0.8434 0.7070 1.0865 "
        "0.9422 1.4754 1.4570 0.8296 0.7154 1.0605 0.4753 0.8434 0.8296 0.4937 0.3474 0.6565 "
        "0.4576 0.7070 0.7154 0.3474 0.6654 0.2935 0.6310 1.0865 1.0605 0.6565 0.2935 0.9450",
    ),
    Figure(
        "3.3.2",
        "weights:",
        "0.2098 0.2006 0.1981 0.1242 0.1220 0.1452 0.1385 0.2379 0.2333 0.1240 0.1082 0.1581 "
        "0.1390 0.2369 0.2326 0.1242 0.1108 0.1565 0.1435 0.2074 0.2046 0.1462 0.1263 0.1720 "
        "0.1526 0.1958 0.1975 0.1367 0.1879 0.1295 0.1385 0.2184 0.2128 0.1420 0.0988 0.1896",
    ),
    Figure("3.3.2", "sums of the rows:", "1.0 1.0 1.0 1.0 1.0 1.0"),
    Figure(
        "3.3.2",
        "context vectors:",
        "0.4421 0.5931 0.5790 0.4419 0.6515 0.5683 0.4431 0.6496 0.5671 "
        "0.4304 0.6298 0.5510 0.4671 0.5910 0.5266 0.4177 0.6503 0.5645",
    ),
    Figure("3.4.1", "query of 'journey':", "0.4306 1.4551"),
    Figure("3.4.1", "keys", "6 2 6 2"),
    Figure("3.4.1", "its score with itself:", "1.8524"),
    Figure("3.4.1", "its scores:", "1.2705 1.8524 1.8111 1.0795 0.5577 1.5440"),
    Figure("3.4.1", "its weights:", "0.1500 0.2264 0.2199 0.1311 0.0906 0.1820"),
    Figure("3.4.1", "its context:", "0.3061 0.8210"),
    Figure(
        "3.4.2",
        "version 1, seed 123:",
        "0.2996 0.8053 0.3061 0.8210 0.3058 0.8203 0.2948 0.7939 0.2927 0.7891 0.2990 0.8040",
    ),
    Figure(
        "3.4.2",
        "version 2, seed 789:",
        "-0.0739 0.0713 -0.0748 0.0703 -0.0749 0.0702 -0.0760 0.0685 -0.0763 0.0679 -0.0754 0.0693",
    ),
    *(
        Figure(
            "3.4.2",
            label,
            "-0.5337 -0.1051 -0.5323 -0.1080 -0.5323 -0.1079 -0.5297 -0.1076 -0.5311 -0.1066 -0.5299 -0.1081",
        )
        for label in ("exercise 3.1, version 2:", "version 1 with its weights:")
    ),
    Figure(
        "3.5.1",
        "weights:",
        "0.1921 0.1646 0.1652 0.1550 0.1721 0.1510 0.2041 0.1659 0.1662 0.1496 0.1665 0.1477 "
        "0.2036 0.1659 0.1662 0.1498 0.1664 0.1480 0.1869 0.1667 0.1668 0.1571 0.1661 0.1564 "
        "0.1830 0.1669 0.1670 0.1588 0.1658 0.1585 0.1935 0.1663 0.1666 0.1542 0.1666 0.1529",
    ),
    Figure("3.5.1", "what each word may see:", "1.0 0.0 0.0 0.0 0.0 0.0 1.0 1.0 0.0 0.0 0.0 0.0 1.0 1.0 1.0 0.0"),
    Figure("3.5.1", "struck out:", "0.1921 0.0000 0.0000 0.0000 0.0000 0.0000 0.2041 0.1659 0.0000"),
    Figure("3.5.1", "divided by the rest:", CAUSAL_WEIGHTS),
    Figure(
        "3.5.1",
        "scores with the future hidden:",
        "0.2899 0.4656 0.1723 0.4594 0.1703 0.1731 0.2642 0.1024 0.1036 0.0186 "
        "0.2183 0.0874 0.0882 0.0177 0.0786 0.3408 0.1270 0.1290 0.0198 0.1290 0.0078",
    ),
    Figure("3.5.1", "weights with the future hidden:", CAUSAL_WEIGHTS),
    Figure(
        "3.5.2",
        "dropout of ones:",
        "2. 2. 0. 2. 2. 0. 0. 0. 0. 2. 0. 2. 2. 2. 2. 2. 0. 2. 0. 2. 2. 0. 0. 2. 0. 2. 0. 2. 0. 2. 0. 2. 2. 2. 2. 0.",
    ),
    Figure(
        "3.5.2",
        "dropout of the weights:",
        "2.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000 "
        "0.7599 0.6194 0.6206 0.0000 0.0000 0.0000 0.0000 0.4921 0.4925 0.0000 0.0000 0.0000 "
        "0.0000 0.3966 0.0000 0.3775 0.0000 0.0000 0.0000 0.3327 0.3331 0.3084 0.3331 0.0000",
    ),
    Figure("3.5.3", "two texts in a batch:", "2 6 3"),
    Figure("3.5.3", "causal attention, seed 123:", CAUSAL + CAUSAL),
    Figure("3.6.1", "two heads of width 2, seed 123:", TWO_HEADS + TWO_HEADS),
    Figure(
        "3.6.1",
        "exercise 3.2:",
        "-0.5740 0.2216 -0.7320 0.0155 -0.7774 -0.0546 -0.6979 -0.0817 -0.6538 -0.0957 -0.6424 -0.1065",
        TORCH,
    ),
    Figure(
        "3.6.1",
        "softmax along the queries:",
        "-0.0915 0.0342 -0.2680 -0.0013 -0.4842 -0.0489 -0.6481 -0.1062 -0.8838 -0.1714 -1.4744 -0.3433",
    ),
    Figure(
        "3.6.2",
        "(1, 2, 3, 3):",
        "1.3208 1.1631 1.2879 1.1631 2.2150 1.8424 1.2879 1.8424 2.0402 "
        "0.4391 0.7003 0.5903 0.7003 1.3737 1.0620 0.5903 1.0620 0.9912",
    ),
    Figure("3.6.2", "head 1 alone:", "1.3208 1.1631 1.2879 1.1631 2.2150 1.8424 1.2879 1.8424 2.0402"),
    Figure("3.6.2", "head 2 alone:", "0.4391 0.7003 0.5903 0.7003 1.3737 1.0620 0.5903 1.0620 0.9912"),
    Figure("3.6.2", "two heads by splitting, seed 123:", SPLIT_HEADS + SPLIT_HEADS),
    Figure("3.6.2", "exercise 3.3:", "2360064"),
]
CHAPTER_4 = [
    Figure("4.1", "'Every day holds a':", "6109 3626 6100 345 6109 1110 6622 257"),
    Figure(
        "4.1",
        "logits of the empty model, shape",
        "2 4 50257 -1.2034 0.3201 -0.7130 -1.5548 -0.2390 -0.4667 -0.1192 0.4539 -0.4432 0.2392 1.3469 1.2430 "
        "0.5307 1.6720 -0.4695 1.1966 0.0111 0.5835 0.0139 1.6755 -0.3388 1.1586 -0.0435 -1.0400 "
        "-1.0908 0.1798 -0.9484 -1.6047 0.2439 -0.4530 -0.7860 0.5581 -0.0610 0.4835 -0.0077 1.6621 "
        "0.3567 1.2698 -0.6398 -0.0162 -0.1296 0.3717 -0.2407 -0.7349 -0.5102 2.0057 -0.3694 0.1814",
    ),
    Figure(
        "4.2",
        "activations:",
        "0.2260 0.3470 0.0000 0.2216 0.0000 0.0000 0.2133 0.2394 0.0000 0.5198 0.3297 0.0000",
    ),
    Figure("4.2", "means", "0.1324 0.2170 0.0231 0.0398"),
    Figure(
        "4.2",
        "normalized:",
        "0.6159 1.4126 -0.8719 0.5872 -0.8719 -0.8719 -0.0189 0.1121 -1.0876 1.5173 0.5647 -1.0876 0.0 0.0 1.0 1.0",
    ),
    Figure("4.3", "GELU by tanh", "-0.0454 -0.1588 -0.1543 0.0000 0.3457 0.8412 1.9546", TORCH),
    Figure("4.3", "GELU exact", "-0.0455 -0.1587 -0.1543 0.0000 0.3457 0.8413 1.9545", TORCH),
    Figure("4.3", "feed-forward layer:", "2 3 768 2 3 768"),
    Figure("4.4", "without shortcuts, layer 0:", "0.000201736"),
    Figure("4.4", "without shortcuts, layer 1:", "0.000120112"),
    Figure("4.4", "without shortcuts, layer 2:", "0.000715204"),
    Figure("4.4", "without shortcuts, layer 3:", "0.001398874"),
    Figure("4.4", "without shortcuts, layer 4:", "0.005049646"),
    Figure("4.4", "with shortcuts, layer 0:", "0.221698"),
    Figure("4.4", "with shortcuts, layer 1:", "0.206941"),
    Figure("4.4", "with shortcuts, layer 2:", "0.328970"),
    Figure("4.4", "with shortcuts, layer 3:", "0.266573"),
    Figure("4.4", "with shortcuts, layer 4:", "1.325854"),
    Figure("4.5", "block:", "2 4 768 2 4 768"),
    Figure("4.5", "exercise 4.1, feed-forward:", "4722432"),
    Figure("4.5", "exercise 4.1, attention:", "2360064"),
    Figure(
        "4.6",
        "logits, shape",
        "2 4 50257 0.3613 0.4222 -0.0711 0.3483 0.4661 -0.2838 -0.1792 -0.5660 -0.9485 0.0477 0.5181 -0.3168 "
        "0.7120 0.0332 0.1085 0.1018 -0.4327 -0.2553 -1.0076 0.3418 -0.1190 0.7195 0.4023 0.0532 "
        "-0.2564 0.0900 0.0335 0.2659 0.4454 -0.6806 0.1230 0.3653 -0.2074 0.7705 0.2710 0.2246 "
        "1.0558 1.0318 -0.2800 0.6936 0.3205 -0.3178 -0.1565 0.3926 0.3288 1.2630 -0.1858 0.0388",
    ),
    Figure("4.6", "parameters:", "163009536"),
    Figure("4.6", "token table", "50257 768 50257 768"),
    Figure("4.6", "with the head tied to the token table:", "124412160"),
    Figure("4.6", "size in float32:", "621.83"),
    Figure("4.6", "exercise 4.2, gpt2-small:", "163009536 124412160 621.83"),
    Figure("4.6", "exercise 4.2, gpt2-medium:", "406212608 354749440 1549.58"),
    Figure("4.6", "exercise 4.2, gpt2-large:", "838220800 773891840 3197.56"),
    Figure("4.6", "exercise 4.2, gpt2-xl:", "1637792000 1557380800 6247.68"),
    Figure("4.7", "'Hello, I am' ->", "15496 11 314 716"),
    Figure("4.7", "s: [", "15496 11 314 716 27018 24086 47843 30961 42348 7267 49706 43231 47062 34657"),
    Figure("4.7", "length", "14"),
]
FIGURES = {
    "appendix_a_autograd": APPENDIX_A,
    "ch02_text_data": CHAPTER_2,
    "ch03_attention": CHAPTER_3,
    "ch04_gpt": CHAPTER_4,
}

# What needs The Verdict or GPT-2's vocabulary.
TEXT = {
    "ch02_text_data": [
        "I HAD always thought Jack Gisburn rather a cheap genius--though a good fellow enough--so it was no ",
        "'no', 'great', 'surprise', 'to', 'me', 'to', 'hear', 'that', ',', 'in']",
        '" It\' s the last he painted, you know," Mrs. Gisburn said with pardonable pride.',
        "got 'Hello'",
        "('younger', 1127), ('your', 1128), ('yourself', 1129)",
        "<|unk|>, do you like tea? <|endoftext|> In the sunlit terraces of the <|unk|>.",
        "together: 'Akwirw ier'",
        "[290, 4920, 2241, 287] ----> 257: ' and established himself in' ----> ' a'",
    ],
    "ch04_gpt": ["Hello, I am Featureiman Byeswickattribute argue logger Normandy Compton analogous"],
}
TITLES = {
    "appendix_a_autograd": [
        "A.1 What is PyTorch?",
        "A.2 Understanding tensors",
        "A.2.1 Scalars, vectors, matrices, and tensors",
        "A.2.2 Tensor data types",
        "A.2.3 Common PyTorch tensor operations",
        "A.3 Seeing models as computation graphs",
        "A.4 Automatic differentiation made easy",
        "A.5 Implementing multilayer neural networks",
        "A.6 Setting up efficient data loaders",
        "A.7 A typical training loop",
        "A.8 Saving and loading models",
        "A.9 Optimizing training performance with GPUs",
    ],
    "ch02_text_data": [
        "2.1 Understanding word embeddings",
        "2.2 Tokenizing text",
        "2.3 Converting tokens into token IDs",
        "2.4 Adding special context tokens",
        "2.5 Byte pair encoding",
        "2.6 Data sampling with a sliding window",
        "2.7 Creating token embeddings",
        "2.8 Encoding word positions",
    ],
    "ch03_attention": [
        "3.1 The problem with modeling long sequences",
        "3.2 Capturing data dependencies with attention mechanisms",
        "3.3 Attending to different parts of the input with self-attention",
        "3.3.1 A simple self-attention mechanism without trainable weights",
        "3.3.2 Computing attention weights for all input tokens",
        "3.4 Implementing self-attention with trainable weights",
        "3.4.1 Computing the attention weights step by step",
        "3.4.2 Implementing a compact self-attention Python class",
        "3.5 Hiding future words with causal attention",
        "3.5.1 Applying a causal attention mask",
        "3.5.2 Masking additional attention weights with dropout",
        "3.5.3 Implementing a compact causal attention class",
        "3.6 Extending single-head attention to multi-head attention",
        "3.6.1 Stacking multiple single-head attention layers",
        "3.6.2 Implementing multi-head attention with weight splits",
        "The same with the package's attention",
    ],
    "ch04_gpt": [
        "4.1 Coding an LLM architecture",
        "4.2 Normalizing activations with layer normalization",
        "4.3 Implementing a feed forward network with GELU activations",
        "4.4 Adding shortcut connections",
        "4.5 Connecting attention and linear layers in a transformer block",
        "4.6 Coding the GPT model",
        "4.7 Generating text",
        "The same with the package's GPT",
    ],
}


@pytest.mark.parametrize("demo", ["appendix_a_autograd", "ch03_attention", SLOW_CHAPTER_4])
def test_prints_the_figures_of_the_book_without_any_text(demo: str, printed) -> None:
    for figure in FIGURES[demo]:
        check(printed(demo), figure)


def test_prints_the_figures_of_chapter_2_from_the_verdict(data_folder: Path, printed) -> None:
    for figure in FIGURES["ch02_text_data"]:
        check(printed("ch02_text_data"), figure)


@pytest.mark.parametrize("demo", ["ch02_text_data", SLOW_CHAPTER_4])
def test_prints_the_text_of_the_book(demo: str, data_folder: Path, printed) -> None:
    for text in TEXT[demo]:
        assert text in printed(demo)
    assert "NOTE" not in printed(demo)


@pytest.mark.parametrize("demo", ["appendix_a_autograd", "ch02_text_data", "ch03_attention", SLOW_CHAPTER_4])
def test_follows_the_sections_of_the_book(demo: str, printed) -> None:
    assert BANNER.findall(printed(demo)) == TITLES[demo]


@pytest.mark.parametrize(
    ("demo", "comparisons", "equalities"),
    [
        ("appendix_a_autograd", 2, 1),
        ("ch02_text_data", 1, 6),
        ("ch03_attention", 6, 0),
        pytest.param("ch04_gpt", 3, 2, marks=pytest.mark.slow),
    ],
)
def test_the_written_out_steps_and_the_package_agree(demo: str, comparisons: int, equalities: int, printed) -> None:
    differences = [float(number) for number in re.findall(r"largest difference (\S+)", printed(demo))]
    assert len(differences) == comparisons
    assert max(differences) < 1e-5
    same = re.findall(r"\bsame\b.*: (True|False)$", printed(demo), re.MULTILINE)
    assert same == ["True"] * equalities


def test_the_comparison_sees_a_wrong_figure() -> None:
    output = "== 9.1 A title ==\nloss: 0.0852, ids [1, 56]\n== 9.2 Another ==\nloss: 0.5\n"
    check(output, Figure("9.1", "loss:", "0.0852 1 56"))
    check(output, Figure("9.1", "loss:", "0.0853"))
    for wrong in (
        Figure("9.1", "loss:", "0.0854"),
        Figure("9.1", "ids", "1 57"),
        Figure("9.1", "ids", "1 56 2"),
        Figure("9.1", "absent", "1"),
        Figure("9.3", "loss:", "0.5"),
    ):
        with pytest.raises(AssertionError):
            check(output, wrong)


@pytest.mark.parametrize("demo", ["ch02_text_data", SLOW_CHAPTER_4])
def test_says_so_where_no_text_is_at_hand(demo: str, empty_cache: dict[str, str]) -> None:
    output = run(demo, **{**empty_cache, "TINYGRAD_LLM_DATA": ""})
    assert re.search(r"^NOTE: the text '[a-z0-9-]+' is not at hand .*corpora\.download", output, re.MULTILINE)
    assert BANNER.findall(output) == TITLES[demo]
    if demo == "ch02_text_data":
        assert output.count("not the book's") == 2
        for book_figure in ("20479", "4690", "5145"):
            assert book_figure not in output
    else:
        for figure in FIGURES[demo]:
            check(output, figure)
        assert "its text needs the vocabulary" in output
        assert "Featureiman" not in output


@pytest.mark.slow
def test_full_size_counts_the_parameters_of_every_gpt2(printed) -> None:
    output = run("ch04_gpt", "--full")
    counted = [int(number.replace(",", "")) for number in re.findall(r"counted in a model: ([\d,]+)", output)]
    assert counted == [163_009_536, 406_212_608, 838_220_800, 1_637_792_000]


@pytest.mark.slow
def test_full_size_attention_agrees_at_the_whole_context() -> None:
    output = run("ch03_attention", "--full")
    assert "12 heads, 1024 tokens, package's" in output
    assert max(float(number) for number in re.findall(r"largest difference (\S+)", output)) < 1e-5
