"""What the two papers publish: the values of configs/, and their results."""

# Zhang et al. 2019: learning rate and coefficient of their published files,
# test accuracy in % of Table 1; first without, then with weight decay.
ZHANG = {
    "cifar10_vgg16_plain": {
        "sgd": ((0.03, 0, 83.20), (0.03, 3e-4, 84.87)),
        "adam": ((3e-4, 0, 83.16), (3e-4, 0.3, 84.12)),
        "kfac_f": ((3e-4, 0, 85.58), (1e-3, 1, 89.60)),
        "kfac_g": ((0.03, 0, 83.85), (0.03, 0.03, 89.81)),
    },
    "cifar10_vgg16_bn": {
        "sgd": ((0.03, 0, 86.99), (0.1, 1e-3, 88.85)),
        "adam": ((1e-3, 0, 88.45), (1e-3, 0.3, 88.72)),
        "kfac_f": ((1e-3, 0, 87.97), (3e-3, 1, 89.02)),
        "kfac_g": ((0.1, 0, 88.17), (0.03, 0.03, 89.77)),
    },
    "cifar10_vgg16_bn_augmented": {
        "sgd": ((0.01, 0, 91.71), (0.1, 1e-3, 93.39)),
        "adam": ((1e-3, 0, 92.89), (3e-4, 1, 93.62)),
        "kfac_f": ((1e-3, 0, 93.12), (1e-3, 0.3, 93.90)),
        "kfac_g": ((0.03, 0, 93.19), (0.03, 0.01, 93.80)),
    },
    "cifar10_resnet32_plain": {
        "sgd": ((3e-3, 0, 85.47), (3e-3, 1e-3, 86.63)),
        "adam": ((3e-4, 0, 84.43), (3e-4, 1, 87.54)),
        "kfac_f": ((3e-4, 0, 86.82), (1e-3, 1, 90.22)),
        "kfac_g": ((0.01, 0, 85.24), (0.03, 0.03, 90.64)),
    },
    "cifar10_resnet32_bn": {
        "sgd": ((0.03, 0, 86.13), (0.03, 3e-3, 90.65)),
        "adam": ((1e-3, 0, 89.46), (1e-3, 1, 90.61)),
        "kfac_f": ((1e-3, 0, 89.78), (1e-3, 1, 91.24)),
        "kfac_g": ((0.03, 0, 89.94), (0.03, 0.01, 90.91)),
    },
    "cifar10_resnet32_bn_augmented": {
        "sgd": ((0.03, 0, 92.95), (0.01, 3e-3, 95.14)),
        "adam": ((1e-3, 0, 93.63), (1e-3, 0.3, 94.66)),
        "kfac_f": ((1e-3, 0, 93.80), (3e-4, 1, 95.35)),
        "kfac_g": ((0.01, 0, 93.44), (0.03, 0.03, 95.04)),
    },
    "cifar100_vgg16_bn_augmented": {
        "sgd": ((0.03, 0, 68.42), (0.03, 3e-3, 73.31)),
        "adam": ((3e-4, 0, 69.88), (3e-4, 1, 74.22)),
        "kfac_f": ((3e-3, 0, 71.05), (1e-3, 1, 73.36)),
        "kfac_g": ((0.1, 0, 67.46), (0.1, 0.01, 73.57)),
    },
    "cifar100_resnet32_bn_augmented": {
        "sgd": ((0.03, 0, 73.61), (0.03, 3e-3, 77.73)),
        "adam": ((3e-4, 0, 73.60), (3e-4, 1, 77.40)),
        "kfac_f": ((1e-3, 0, 74.49), (1e-3, 1, 78.01)),
        "kfac_g": ((0.05, 0, 73.70), (0.05, 0.01, 78.02)),
    },
}
ZHANG_CELLS = [
    (f"{network}_{optimizer}{suffix}", *cell)
    for network, row in ZHANG.items()
    for optimizer, cells in row.items()
    for suffix, cell in zip(("", "_wd"), cells, strict=True)
]
# Of the networks without batch normalization, the only ones that they clip.
KL_CLIPS = {
    "cifar10_vgg16_plain_kfac_f": 1e-5,
    "cifar10_vgg16_plain_kfac_f_wd": 1e-5,
    "cifar10_vgg16_plain_kfac_g": 1e-4,
    "cifar10_vgg16_plain_kfac_g_wd": 1e-3,
    "cifar10_resnet32_plain_kfac_f": 1e-5,
    "cifar10_resnet32_plain_kfac_f_wd": 1e-5,
    "cifar10_resnet32_plain_kfac_g": 1e-4,
    "cifar10_resnet32_plain_kfac_g_wd": 1e-4,
}
# Everywhere else it is 1e-3.
DAMPINGS = {
    "cifar10_vgg16_plain_kfac_g": 1e-2,
    "cifar10_vgg16_plain_kfac_g_wd": 1e-2,
}

# Xie et al. 2022, Appendix B.1: learning rate, coefficient, mode. They do not
# state the rates of Yogi and Adai nor the mode of RAdam: those are chosen here.
XIE_RULES = {
    "sgd": (0.1, 5e-4, "l2"),
    "sgdw": (0.1, 5e-3, "decoupled"),
    "sgds": (0.1, 5e-4, "stable"),
    "adam": (1e-3, 5e-4, "l2"),
    "adamw": (1e-3, 0.5, "decoupled"),
    "adams": (1e-3, 5e-4, "stable"),
    "amsgrad": (1e-3, 5e-4, "l2"),
    "adabound": (1e-3, 5e-4, "l2"),
    "padam": (0.01, 5e-4, "l2"),
    "yogi": (1e-3, 5e-4, "l2"),
    "radam": (1e-3, 5e-4, "decoupled"),
    "adai": (1.0, 5e-4, "l2"),
    "adais": (1.0, 5e-4, "stable"),
}
# The same, Tables 1 and 4: test error in %, mean and deviation.
XIE_NETWORKS = (
    *("cifar10_resnet18", "cifar10_vgg16"),
    *("cifar100_resnet34", "cifar100_densenet121", "cifar100_googlenet"),
)
XIE_ERRORS = """
sgd       5.01±0.03  6.42±0.02  21.52±0.37  19.81±0.33  21.21±0.29
adams     4.91±0.04  6.09±0.11  21.76±0.42  20.52±0.26  21.05±0.18
adam      6.96±0.02  7.31±0.25  27.16±0.55  25.11±0.15  26.12±0.33
amsgrad   6.16±0.18  7.14±0.14  25.53±0.19  24.43±0.09  25.53±0.17
adamw     5.08±0.07  6.59±0.13  22.99±0.40  21.55±0.14  21.29±0.17
adabound  5.65±0.08  6.76±0.12  22.87±0.13  22.69±0.15  23.18±0.31
padam     5.12±0.04  6.15±0.06  22.72±0.10  21.10±0.23  21.82±0.17
yogi      5.87±0.12  6.90±0.22  23.57±0.12  22.15±0.36  24.24±0.16
radam     6.01±0.10  6.56±0.04  24.41±0.40  22.27±0.22  22.23±0.15
adais     4.59±0.16  5.81±0.07  -           19.44±0.21  20.50±0.25
adai      4.74±0.14  6.00±0.09  -           19.59±0.38  20.55±0.32
sgds      4.69±0.09  6.28±0.07  -           19.61±0.26  20.68±0.03
"""
XIE_CELLS = [
    (network, optimizer, error)
    for optimizer, *row in map(str.split, XIE_ERRORS.strip().splitlines())
    for network, error in zip(XIE_NETWORKS, row, strict=True)
    if error != "-"
]
