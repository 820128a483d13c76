"""The label tables of every data set, in the order of their class ids."""

from __future__ import annotations

from collections.abc import Mapping

from pixelcontrast.data.labels import Color, LabelSpace


def label_space(table: Mapping[str, Color]) -> LabelSpace:
    """Make a label space of a table from name to colour, in its order."""
    return LabelSpace(tuple(table), tuple(table.values()))


def spread_colors(count: int) -> tuple[Color, ...]:
    """Colours for classes that have none of their own: PASCAL VOC's map, the id's bits dealt to R, G, B."""

    def color(number: int) -> Color:
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= ((number >> (3 * bit + channel)) & 1) << (7 - bit)
        return (channels[0], channels[1], channels[2])

    return tuple(color(number) for number in range(1, count + 1))  # 0 would be the black of ignored pixels


def named(names: str) -> LabelSpace:
    """Make a label space of names between commas."""
    split = tuple(" ".join(name.split()) for name in names.split(","))
    return LabelSpace(split, spread_colors(len(split)))


# Order and colours of the SegNet split (Badrinarayanan et al., TPAMI 2017).
CAMVID = label_space(
    {
        "sky": (128, 128, 128),
        "building": (128, 0, 0),
        "pole": (192, 192, 128),
        "road": (128, 64, 128),
        "pavement": (60, 40, 222),
        "tree": (128, 128, 0),
        "sign": (192, 128, 128),
        "fence": (64, 64, 128),
        "car": (64, 0, 128),
        "pedestrian": (64, 64, 0),
        "cyclist": (0, 128, 192),
    }
)

# The 32 colours of the original labels (Brostow et al., "Semantic object classes in video", PRL 2009), and which of
# SegNet's classes each is part of; None is void.
CAMVID_COLORS: Mapping[str, tuple[Color, str | None]] = {
    "Animal": ((64, 128, 64), "pedestrian"),
    "Archway": ((192, 0, 128), "building"),
    "Bicyclist": ((0, 128, 192), "cyclist"),
    "Bridge": ((0, 128, 64), "building"),
    "Building": ((128, 0, 0), "building"),
    "Car": ((64, 0, 128), "car"),
    "CartLuggagePram": ((64, 0, 192), "pedestrian"),
    "Child": ((192, 128, 64), "pedestrian"),
    "Column_Pole": ((192, 192, 128), "pole"),
    "Fence": ((64, 64, 128), "fence"),
    "LaneMkgsDriv": ((128, 0, 192), "road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "road"),
    "Misc_Text": ((128, 128, 64), "sign"),
    "MotorcycleScooter": ((192, 0, 192), "cyclist"),
    "OtherMoving": ((128, 64, 64), "car"),
    "ParkingBlock": ((64, 192, 128), "pavement"),
    "Pedestrian": ((64, 64, 0), "pedestrian"),
    "Road": ((128, 64, 128), "road"),
    "RoadShoulder": ((128, 128, 192), "pavement"),
    "Sidewalk": ((0, 0, 192), "pavement"),
    "SignSymbol": ((192, 128, 128), "sign"),
    "Sky": ((128, 128, 128), "sky"),
    "SUVPickupTruck": ((64, 128, 192), "car"),
    "TrafficCone": ((0, 0, 64), "pole"),
    "TrafficLight": ((0, 64, 64), "sign"),
    "Train": ((192, 64, 128), "car"),
    "Tree": ((128, 128, 0), "tree"),
    "Truck_Bus": ((192, 128, 192), "car"),
    "Tunnel": ((64, 0, 64), "building"),
    "VegetationMisc": ((192, 192, 0), "tree"),
    "Void": ((0, 0, 0), None),
    "Wall": ((64, 192, 0), "building"),
}

SYNTHETIC = label_space(
    {
        "sky": (112, 176, 224),
        "building": (150, 96, 84),
        "road": (120, 88, 140),
        "pavement": (226, 140, 200),
        "tree": (92, 142, 58),
        "car": (36, 62, 168),
        "person": (220, 42, 66),
        "pole": (172, 172, 172),
        "sign": (250, 206, 44),
        "cyclist": (132, 24, 44),
        "fence": (206, 166, 120),
    }
)

# Ids and colours of github.com/mcordts/cityscapesScripts (Cordts et al., CVPR 2016), the classes that are evaluated.
CITYSCAPES = label_space(
    {
        "road": (128, 64, 128),
        "sidewalk": (244, 35, 232),
        "building": (70, 70, 70),
        "wall": (102, 102, 156),
        "fence": (190, 153, 153),
        "pole": (153, 153, 153),
        "traffic light": (250, 170, 30),
        "traffic sign": (220, 220, 0),
        "vegetation": (107, 142, 35),
        "terrain": (152, 251, 152),
        "sky": (70, 130, 180),
        "person": (220, 20, 60),
        "rider": (255, 0, 0),
        "car": (0, 0, 142),
        "truck": (0, 0, 70),
        "bus": (0, 60, 100),
        "train": (0, 80, 100),
        "motorcycle": (0, 0, 230),
        "bicycle": (119, 11, 32),
    }
)

# The 59 frequent categories of PASCAL-Context (Mottaghi et al., CVPR 2014) in the order of their original numbers,
# which is the order of the ids 1-59 in SegmentationClassContext as the detail-api's masks are converted to it
# (mmsegmentation's tools/dataset_converters/pascal_context.py).
PASCAL_CONTEXT = named(
    """
    aeroplane, bag, bed, bedclothes, bench, bicycle, bird, boat, book, bottle, building, bus, cabinet, car, cat,
    ceiling, chair, cloth, computer, cow, cup, curtain, dog, door, fence, floor, flower, food, grass, ground, horse,
    keyboard, light, motorbike, mountain, mouse, person, plate, platform, pottedplant, road, rock, sheep, shelves,
    sidewalk, sign, sky, snow, sofa, table, track, train, tree, truck, tvmonitor, wall, water, window, wood
    """
)

# Their numbers among the original 459 categories, which trainval_merged.json gives.
PASCAL_CONTEXT_NUMBERS = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159,
    162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397,
    415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip

# The same 59 in the order of the ids 1-59 in 59_context_labels.tar.gz, the release of the authors (its 59_labels.txt):
# the twenty of VOC come first.
PASCAL_CONTEXT_AUTHORS_ORDER = named(
    """
    aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, table, dog, horse, motorbike, person,
    pottedplant, sheep, sofa, train, tvmonitor, bag, bed, bench, book, building, cabinet, ceiling, cloth, computer,
    cup, door, fence, floor, flower, food, grass, ground, keyboard, light, mountain, mouse, curtain, platform, sign,
    plate, road, rock, shelves, sidewalk, sky, snow, bedclothes, track, tree, truck, wall, water, window, wood
    """
).names

# COCO-Stuff (Caesar et al., CVPR 2018): 80 things and 91 stuff classes, without the 11 numbers that COCO never used.
COCO_STUFF = named(
    """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
    parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
    handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
    surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
    broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv,
    laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase,
    scissors, teddy bear, hair drier, toothbrush, banner, blanket, branch, bridge, building-other, bush, cabinet,
    cage, cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain,
    desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower,
    fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat, metal,
    mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant-other, plastic, platform,
    playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea, shelf, sky-other, skyscraper,
    snow, solid-other, stairs, stone, straw, structural-other, table, tent, textile-other, towel, tree, vegetable,
    wall-brick, wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops,
    window-blind, window-other, wood
    """
)

# The 150 classes of SceneParsing (Zhou et al., CVPR 2017) in the order of ids 1-150, each by its first name.
ADE20K = named(
    """
    wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door,
    table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field,
    armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard,
    chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway,
    case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower,
    book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine,
    hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane,
    dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship,
    fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag,
    minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher,
    screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate,
    monitor, bulletin board, shower, radiator, glass, clock, flag
    """
)
