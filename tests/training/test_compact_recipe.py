"""What the compact model learns from, and how (experiments/compact: losses.py, learner.py,
crops.py, mels.py, augment.py, prune.py), by hand and by loop."""

import ast
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

COMPACT = Path(__file__).parents[2] / "experiments" / "compact"


@pytest.fixture(autouse=True)
def compact_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(COMPACT))


def unit(*shape: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_crops_of_one_text_share_a_column() -> None:
    from losses import heard_texts

    who = np.array([[0, -1], [1, 0], [2, 0], [2, 1]])
    below = torch.tensor([0.0, 6.0, 12.0, 0.0])  # dB: the third's second sound is too faint
    texts_of = [[7], [8], [7]]  # two clips of one text
    texts, target = heard_texts(who, below, texts_of)
    assert texts == [7, 8]
    half, near_all = 0.5, float(torch.sigmoid(torch.tensor(2.0)))
    expected = [[1, 0], [half, 1], [1, 0], [1, near_all]]
    torch.testing.assert_close(target, torch.tensor(expected))
    apart, target = heard_texts(who, below, texts_of, distinct=False)
    assert apart == [7, 8, 7, 7, 7, 8]
    assert ((target == 1).sum(1) == 1).all()


def test_a_crop_may_be_told_any_of_its_clips_texts() -> None:
    from losses import heard_texts

    random.seed(0)
    found = {heard_texts(np.array([[0, -1]]), torch.zeros(1), [[3, 4]])[0][0] for _ in range(50)}
    assert found == {3, 4}


def test_captions_loss_is_the_papers_where_each_crop_has_a_text_of_its_own() -> None:
    from losses import caption_loss

    heard, asked, scale = unit(5, 8, seed=1), unit(5, 8, seed=2), torch.tensor(15.0)
    loss = caption_loss(heard, asked, torch.eye(5), torch.eye(5, dtype=torch.bool), scale)
    logits, own = scale * heard @ asked.T, torch.arange(5)
    assert loss.item() == pytest.approx(
        0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)).item(), abs=1e-5
    )


def test_a_near_text_is_no_negative() -> None:
    from losses import caption_loss

    heard, asked, scale = unit(3, 8, seed=1), unit(3, 8, seed=2), torch.tensor(15.0)
    near = torch.eye(3, dtype=torch.bool)
    near[0, 1] = near[1, 0] = True
    both = caption_loss(heard[:2], asked[:2], torch.eye(2), near[:2, :2], scale)
    assert both.item() == 0  # each has nothing but its own left
    assert caption_loss(heard, asked, torch.eye(3), near, scale) > 0


def test_bank_loss_by_loop() -> None:
    from losses import STRONG, bank_loss

    heard, named = unit(6, 8, seed=1), unit(9, 8, seed=2)
    scores = torch.rand((6, 9), generator=torch.Generator().manual_seed(3)) ** 3
    logits = (20 * heard @ named.T).double().numpy()
    s = scores.double().numpy()

    def softmax(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum()

    by_crop = np.mean(
        [
            -min(1, 2 * s[i].max()) * (s[i] / s[i].sum() * np.log(softmax(logits[i]))).sum()
            for i in range(6)
        ]
    )
    strong = np.where(s > STRONG, s, 0)
    by_label = np.mean(
        [
            -(strong[:, j] / strong[:, j].sum() * np.log(softmax(logits[:, j]))).sum()
            for j in range(9)
            if strong[:, j].sum() > 3 * STRONG
        ]
    )
    loss = bank_loss(heard, named, scores, torch.tensor(20.0))
    assert loss.item() == pytest.approx(by_crop + 0.5 * by_label, rel=1e-5)


def test_neighbours_are_the_teachers() -> None:
    from losses import relate_loss

    representation = unit(12, 16, seed=1)
    same = relate_loss(representation, 3.0 * representation)  # lengths do not matter
    assert same < relate_loss(unit(12, 16, seed=2), representation)
    assert same < relate_loss(representation.flip(0), representation)


def test_calm_loss_is_least_where_each_finds_itself() -> None:
    from losses import calm_loss

    clean = torch.eye(4)
    assert calm_loss(clean, clean) < 1e-3
    assert calm_loss(clean.flip(0), clean) > 4


def learner_of(weight: torch.nn.Parameter, **options: object):
    from learner import Learner

    settings: dict = {"steps": 8, "warm_up": 2, "decay": 0.0} | options
    return Learner([(0.1, [weight])], **settings)


def test_the_mean_of_the_weights_is_a_running_one_and_can_be_put_in_place() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    learner = learner_of(weight)
    mean = 0.0
    for step in range(6):
        learner.step(-weight.sum())
        remembers = (1 + step) / (10 + step)  # 0.99 lies far behind six steps
        mean = remembers * mean + (1 - remembers) * weight.item()
    last = weight.item()
    with learner.averaged():
        assert weight.item() == pytest.approx(mean, rel=1e-5)
        assert weight.item() < last
    assert weight.item() == last


def test_a_learner_goes_on_as_it_would_have(tmp_path: Path) -> None:
    from learner import Learner

    def make() -> tuple[list[nn.Parameter], Learner]:
        slow, fast = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
        return [slow, fast], Learner([(0.01, [slow]), (0.1, [fast])], steps=8, warm_up=3)

    def take(learns: list[nn.Parameter], learner: Learner, steps: range) -> None:
        for step in steps:
            learner.step(((step + 1) * learns[0]).square().sum() + learns[1].exp().sum())

    whole, uninterrupted = make()
    take(whole, uninterrupted, range(8))
    some, first = make()
    take(some, first, range(5))
    torch.save(first.state(), tmp_path / "state.pt")
    others, second = make()
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.taken == 5
    take(others, second, range(5, 8))
    for wanted, found in zip(whole + uninterrupted.mean, others + second.mean, strict=True):
        assert torch.equal(wanted, found)
    assert not torch.equal(whole[0], some[0])


def test_without_a_mean_the_last_weights_are_kept() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    learner = learner_of(weight, averaged=False)
    for _ in range(3):
        learner.step(-weight.sum())
    last = weight.item()
    with learner.averaged():
        assert weight.item() == last > 0


def test_the_rate_warms_up_and_falls_to_its_floor() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    learner = learner_of(weight, floor=0.1)
    rates = []
    for _ in range(9):
        rates.append(learner.schedule.get_last_lr()[0])
        learner.step(-weight.sum())
    assert rates[0] == pytest.approx(0.05)  # half of it, one step of two
    assert max(rates) == rates[1] < 0.1
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


def test_parts_of_one_rate_both_learn() -> None:
    from learner import Learner

    first, second = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    learner = Learner([(0.1, [first]), (0.1, [second]), (0.2, [])], steps=4, warm_up=1)
    learner.step(-(first + second).sum())
    assert first.item() > 0
    assert second.item() > 0


def test_a_log_mel_survives_being_packed_to_half_a_step() -> None:
    from mels import LOWEST, STEP, decibels, packed_mel

    from wavtext.audio.log_mel import log_mel
    from wavtext.training.compact import FRONT_END

    noise = np.random.default_rng(0).standard_normal(22_050).astype(np.float32) * 0.1
    exact, packed = log_mel(noise, FRONT_END), packed_mel(noise)
    assert packed.dtype == np.uint8
    inside = (exact > LOWEST) & (exact < LOWEST + 255 * STEP)
    assert inside.mean() > 0.9
    apart = np.abs(decibels(packed) - exact)[inside]
    assert apart.max() <= STEP / 2 + 1e-3
    assert decibels(packed).dtype == np.float32


def test_crops_come_one_length_at_a_time_and_long_ones_by_half() -> None:
    from crops import Crops

    shards = [
        {"mel": np.full((4, frames, 2), i, np.uint8), "who": np.full((4, 2), i)}
        for i, frames in enumerate((54, 216, 54))
    ]
    crops = Crops(shards, np.random.default_rng(1))
    assert len(crops) == 12
    seen = set()
    for _ in range(20):
        some = crops.draw(6)
        count, frames, _ = some["mel"].shape
        assert count == (3 if frames == 216 else 6)
        assert (some["mel"][:, 0, 0] == some["who"][:, 0]).all()
        seen |= set(some["who"][:, 0].tolist())
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("blocks", [0, 1, 2, 3])
def test_the_encoder_may_be_cut_after_any_block(blocks: int) -> None:
    from wavtext.training.compact import CompactAudioEncoder

    torch.manual_seed(0)
    encoder = CompactAudioEncoder((2, 3, 4, 8)).eval()
    log_mel = torch.randn(2, 54, 72) * 10
    with torch.no_grad():
        whole, cut = encoder(log_mel), encoder.rest(encoder.stem(log_mel, blocks), blocks)
    torch.testing.assert_close(cut, whole)


def test_where_all_blocks_learn_the_stem_only_sets_the_level() -> None:
    from stem import Stem

    from wavtext.training.compact import CompactAudioEncoder, level

    encoder = CompactAudioEncoder((2, 3, 4, 8)).eval()
    log_mel = np.random.default_rng(0).normal(-40, 10, (2, 54, 72)).astype(np.float32)
    stem = Stem(encoder, 0, log_mel)
    expected = level(torch.from_numpy(log_mel))[:, None]
    torch.testing.assert_close(stem(log_mel), expected)


def test_a_crop_is_a_stretch_of_its_sound_and_a_short_one_repeats_or_stands_in_silence() -> None:
    from generate import crop_of

    rng = np.random.default_rng(0)
    sound = np.arange(1, 20_001, dtype=np.int16)
    starts = set()
    for _ in range(20):
        crop = crop_of(rng, sound, 500, paced=0.0) * 32_000
        assert np.allclose(np.diff(crop), 1, atol=1e-2)
        starts.add(round(float(crop[0])))
    assert len(starts) > 10
    faster = [crop_of(rng, sound, 500, paced=1.0) * 32_000 for _ in range(20)]
    steps = np.array([np.diff(crop).mean() for crop in faster])
    assert ((steps > 0.84) & (steps < 1.19)).all()
    assert np.ptp(steps) > 0.1
    silent = 0
    for _ in range(40):
        crop = np.round(crop_of(rng, sound[:200], 500, paced=0.0) * 32_000)
        silent += np.count_nonzero(crop == 0) == 300
        assert set(crop[crop > 0]) == set(range(1, 201))  # all of it is there
    assert 5 < silent < 25


def untrained_block(inner: int) -> nn.Module:
    """A convolutional block whose batch norms do something."""
    from wavtext.training.compact_layers import ConvBlock

    block = ConvBlock(3, 5, inner).eval()
    for norm in (block.bn1, block.bn2):
        nn.init.uniform_(norm.weight, 0.5, 1.5), nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean), nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return block


@pytest.mark.parametrize("pooled", [False, True])
def test_a_block_that_keeps_its_statistics_learns_as_it_would_in_two_steps(pooled: bool) -> None:
    import torch.nn.functional as F

    torch.manual_seed(0)
    block, x = untrained_block(4), torch.randn(2, 3, 6, 8)
    plain = F.relu(block.bn1(block.conv1(x)))
    plain = F.relu(block.bn2(block.conv2(plain)))
    plain = F.max_pool2d(plain, 2) if pooled else plain
    found = block.pooled(x) if pooled else block(x)
    assert torch.allclose(found, plain, atol=1e-5)
    weights, by = list(block.parameters()), torch.randn_like(plain)
    expected = torch.autograd.grad((plain * by).sum(), weights)
    for one, other in zip(torch.autograd.grad((found * by).sum(), weights), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-3)
    with torch.no_grad():
        assert torch.equal(block.pooled(x) if pooled else block(x), plain)
    before = block.bn1.running_mean.clone()
    block.train()(x)
    assert not torch.equal(block.bn1.running_mean, before)  # statistics that learn still do


def test_an_exported_block_keeps_the_layers_that_engines_fuse(tmp_path: Path) -> None:
    import onnx

    from wavtext.training.compact import CompactAudioEncoder
    from wavtext.training.export import export_onnx

    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = CompactAudioEncoder((2, 3, 4, 8))

        def forward(self, log_mel):
            return self.encoder.stem(log_mel, 1)

    path = tmp_path / "stem.onnx"
    export_onnx(Stem(), torch.zeros(1, 16, 72), path, name="log_mel", axis="frames")
    layers = [node.op_type for node in onnx.load(path).graph.node]
    assert layers[-5:] == ["Conv", "Relu", "Conv", "Relu", "MaxPool"]


@torch.no_grad()
def test_channels_that_say_the_same_are_pruned_without_loss() -> None:
    from prune import narrow

    torch.manual_seed(0)
    block, twins = untrained_block(4), untrained_block(8)
    for name, value in block.state_dict().items():
        if name.startswith(("conv1", "bn1")) and value.dim():
            value = torch.cat([value, value])
        if name == "conv2.weight":
            value = torch.cat([0.3 * value, 0.7 * value], dim=1)
        twins.state_dict()[name].copy_(value)
    x = torch.randn(40, 3, 12, 10)
    torch.testing.assert_close(twins(x), block(x))
    assert narrow(twins, x, 4, torch.Generator().manual_seed(0)) < 1e-5
    assert twins.conv1.weight.shape == (4, 3, 3, 3)
    assert twins.conv2.weight.shape == (5, 4, 3, 3)
    torch.testing.assert_close(twins(x), block(x), atol=0.02, rtol=0.01)


@torch.no_grad()
def test_what_is_left_makes_up_for_what_is_pruned() -> None:
    from prune import narrow

    torch.manual_seed(0)
    x = torch.randn(60, 3, 12, 10) + 0.5
    block = untrained_block(16)
    before = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    weakest = block.conv2.weight.square().sum((0, 2, 3)).argsort()[:4]
    dropped = block.conv2.weight.clone()
    dropped[:, weakest] = 0
    heard = F.relu(block.bn1(block.conv1(x)))
    naive = block.bn2(F.conv2d(heard, dropped, padding=1)) - before
    naive -= naive.mean((0, 2, 3), keepdim=True)
    said = narrow(block, x, 12, torch.Generator().manual_seed(0))
    found = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x))))) - before
    share = found.var((0, 2, 3)).sum() / before.var((0, 2, 3)).sum()
    assert share == pytest.approx(said, rel=1e-3)  # all 120 places of each window were looked at
    assert said < 0.05
    assert found.square().mean() < 0.5 * naive.square().mean()
    assert found.mean((0, 2, 3)).abs().max() < 1e-4  # the mean stays


def test_a_block_that_is_narrow_enough_stays() -> None:
    from prune import narrow

    block = untrained_block(4)
    before = {name: value.clone() for name, value in block.state_dict().items()}
    assert narrow(block, torch.randn(2, 3, 8, 8), 4, torch.Generator()) == 0
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


def test_all_blocks_are_pruned_and_the_encoder_says_nearly_the_same() -> None:
    from prune import prune

    from wavtext.training.compact import CompactAudioEncoder

    torch.manual_seed(0)
    encoder = CompactAudioEncoder((8, 8, 16, 16)).eval()
    log_mel = torch.randn(30, 54, 72) * 10 - 40
    with torch.no_grad():
        before = encoder(log_mel)
        lost = prune(encoder, log_mel, (6, 7, 14, 16))
        after = encoder(log_mel)
    assert [block.conv1.out_channels for block in encoder.blocks] == [6, 7, 14, 16]
    assert lost[3] == 0
    assert all(0 <= share < 1e-3 for share in lost[:3])
    assert (after - before).square().sum() < 1e-3 * before.var(0).sum() * len(before)
    narrow = CompactAudioEncoder((8, 8, 16, 16), inner=(6, 7, 14, 16))
    narrow.load_state_dict(encoder.state_dict())


def test_noise_lies_as_far_below_as_it_should() -> None:
    from augment import over_noise

    torch.manual_seed(0)
    power = torch.full((2, 400, 72), 1e-9)
    power[0, 10, 20], power[1, 10, 20] = 1.0, 1e-4  # a faint sound has a faint noise
    noise = over_noise(power, 30.0)[:, 11:]
    found = 10 * torch.log10(noise.mean(1).amax(1))
    assert ((found - torch.tensor([-30.0, -70.0])).abs() < 1.5).all()
    assert torch.equal(over_noise(power, torch.inf), power)


def test_a_room_lets_a_click_decay_by_60_db_in_its_time() -> None:
    from augment import FRAMES_A_SECOND, echoing

    power = torch.zeros(1, 60, 72)
    power[0, 5] = 1.0
    heard = echoing(power, torch.tensor(1.0), torch.tensor(20 / FRAMES_A_SECOND))
    assert (heard[0, :5] == 0).all()
    fall = 10 * torch.log10(heard[0, 5, 0] / heard[0, 25, 0])  # 20 frames later
    assert fall == pytest.approx(60, abs=0.1)
    assert torch.equal(echoing(power, torch.tensor(0.0), torch.tensor(0.5)), power)


def test_a_sound_found_elsewhere_is_that_sound_over_a_noise() -> None:
    from augment import elsewhere

    torch.manual_seed(0)
    clean = torch.full((64, 54, 72), -90.0)
    clean[:, 10:20, 30:40] = -10.0
    found = elsewhere(clean)
    assert found.isfinite().all()
    assert (found[:, 10:20, 30:40] > -14.0).all()  # dB: a room may take half of it
    floor = 10 * torch.log10((10 ** (found[:, :8] / 10)).mean(1).amax(1))
    decays = found[:, 20:23, 30:40].mean((1, 2)) > floor + 10  # dB: it goes on after the sound
    assert 10 < decays.sum() < 40  # of 64: half are in a room, some in a faint one
    assert ((floor > -73) & (floor < -25)).all()  # 20 to 60 dB below the loudest, and some


def test_titles_tell_labels_and_vague_ones_tell_nothing() -> None:
    from told import LEAST, SHARPNESS, told_labels

    labels = torch.eye(4)
    phrases = [labels[:1], torch.stack([labels[1], labels[2]]), labels[3:]]  # three labels
    texts = torch.stack([2 * labels[2], torch.ones(4) * 0.1, labels[0] + 0.9 * labels[3]])
    told = told_labels([[0], [1], [2], [0, 2]], texts, phrases)
    torch.testing.assert_close(told[0], torch.tensor([LEAST, 1.0, LEAST]))  # by its second phrase
    assert (told[1] == 1).all()  # as like one as another
    other = np.exp(-0.1 / np.sqrt(1 + 0.9**2) / SHARPNESS)
    torch.testing.assert_close(told[2], torch.tensor([1.0, LEAST, other], dtype=torch.float32))
    assert told[3][1] == 1  # the likest of a clip's texts
    unlike = torch.tensor([[1.0, 0.2, 0.0, 0.0]])
    assert (told_labels([[0]], unlike, [labels[1:2], labels[2:3]]) == 1).all()


def test_what_is_told_corrects_the_teachers() -> None:
    from told import correct

    scores = torch.tensor([[0.8, 0.4, 0.0], [0.8, 0.4, 0.0], [0.6, 0.5, 0.1]])
    told = torch.tensor([[0.01, 1.0, 1.0], [1.0, 0.01, 0.01]])
    who, below = np.array([[0, -1], [1, -1], [0, 1]]), torch.tensor([0.0, 0.0, -3.0])
    torch.testing.assert_close(correct(scores, told, who, below, 0.0), scores)
    found = correct(scores, told, who, below, 1.0)
    assert found[0].argmax() == 1  # what was not the likeliest, and what the title says
    assert found[0, 2] == 0  # a title alone is no evidence
    torch.testing.assert_close(found[1], torch.tensor([0.8, 0.004, 0.0]))
    torch.testing.assert_close(found.amax(1), scores.amax(1))
    assert found[2, 0] / found[2, 1] == pytest.approx(
        0.6 * float(torch.sigmoid(torch.tensor(3.0))) / 0.5
    )  # of a mixture, both sounds' titles count


def test_the_weakest_classes_are_those_whose_first_ten_are_others() -> None:
    from report import weakest

    labels = np.array([0] * 12 + [1] * 12 + [2] * 3)
    score = np.zeros((3, 27))
    score[0, :6] = score[1, 12:24] = 1.0  # six cats and all dogs are found
    score[0, 12:16] = 0.5  # after them, four dogs
    rows = weakest(score, labels, ["cat", "dog", "cow"], count=2)
    assert rows == [
        {"class": "cat", "right": 6, "others": {"dog": 4}},
        {"class": "dog", "right": 10, "others": {}},  # three cows are too few to say anything
    ]


def test_what_a_script_takes_from_another_is_there() -> None:
    trees = {path.stem: ast.parse(path.read_text()) for path in COMPACT.glob("*.py")}

    def names(tree: ast.Module) -> set[str]:
        found: set[str] = set()
        for node in tree.body:
            if isinstance(node, ast.ImportFrom | ast.Import):
                found |= {each.asname or each.name for each in node.names}
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                found |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        return found

    for script, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in trees:
                missing = {each.name for each in node.names} - names(trees[node.module])
                assert not missing, f"{script} takes {missing} from {node.module}"


def test_a_title_is_borne_out_where_a_teacher_hears_a_label_of_its_class() -> None:
    from everyday import BORNE_OUT, LABELS, NOT_ENVIRONMENTAL, PATTERNS, borne_out
    from text_bank import PHRASES, load_labels

    labels = load_labels(PHRASES)
    assert LABELS.keys() == PATTERNS.keys() - NOT_ENVIRONMENTAL
    for pattern in LABELS.values():
        assert any(re.search(pattern, label.lower()) for label in labels), pattern
    first, second = np.zeros((2, 4, 521), np.float32)
    bark, rain = labels.index("Bark"), labels.index("Rain")
    for heard in (first, second):
        heard[:, -BORNE_OUT:] = 0.5  # labels of neither
    first[0, bark] = second[1, rain] = 0.6
    first[2, -1] = 0.4  # a seventh other one: the class is the eighth
    first[2, bark], first[3, bark] = 0.45, 0.45
    found = borne_out(["dog", "rain", "dog", "dog"], [first, second], labels)
    assert found.tolist() == [True, True, True, False]


def test_environmental_clips_are_long_and_name_no_instrument() -> None:
    from report import environmental

    titles = ["Dog barking", "dog", "rain", "snare drum", "Rain on a roof"]
    seconds = [2.0, 1.0, 3.0, 4.0, 1.25]
    clips = [{"title": t, "duration": d} for t, d in zip(titles, seconds, strict=True)]
    chosen, named = environmental(np.array([0, 0, 2, 1, 2]), ["dog", "drum", "rain"], clips)
    assert chosen.tolist() == [0, 2, 4]
    assert named.tolist() == [0, 2]


def test_following_is_least_where_the_tutor_says_the_same() -> None:
    from losses import follow_loss

    heard, other = unit(4, 8, seed=1), unit(4, 8, seed=2)
    assert follow_loss(heard, heard.half()).item() == pytest.approx(0, abs=2e-3)
    by_hand = 1 - sum(float(a @ b) for a, b in zip(heard, other, strict=True)) / 4
    assert follow_loss(heard, other).item() == pytest.approx(by_hand, abs=1e-5)


def test_crops_keep_their_tutors_embeddings_when_others_are_screened_out(tmp_path: Path) -> None:
    from crops import allowed_clips, load_shards
    from split import SCREENED

    clips = [
        {"source": "somewhere", "file": "audio/g00000.ogg", "license": "CC0-1.0", "group": "a"},
        {"source": "somewhere", "file": min(SCREENED), "license": "CC0-1.0", "group": "b"},
    ]
    assert allowed_clips(clips).tolist() == [True, False, True]
    rng = np.random.default_rng(0)
    crops, tutor = tmp_path / "crops", tmp_path / "tutor"
    crops.mkdir(), tutor.mkdir()
    who = np.array([[0, -1], [1, -1], [0, 1], [0, 0]] * 150, np.int32)
    heard = {name: rng.random((600, 521)).astype(np.float16) for name in ("mean", "most", "tagged")}
    heard |= {"middle": rng.random((600, 300)), "feature": rng.random((600, 300))}
    np.savez(crops / "0000.npz", mel=np.zeros((600, 2, 72), np.uint8), who=who, **heard)
    np.save(tutor / "0000.npy", np.arange(600, dtype=np.float16)[:, None])
    (shard,) = load_shards([crops / "0000.npz"], clips, 0.5, tutor)
    kept = [row for row in range(600) if row % 4 in (0, 3)]
    assert shard["followed"][:, 0].tolist() == kept
    mean, most, tagged = (
        heard[name][kept].astype(np.float32) for name in ("mean", "most", "tagged")
    )
    by_hand = np.minimum(2.3 * (0.5 * (mean + most) * tagged**2) ** (1 / 3), 1)
    np.testing.assert_allclose(shard["scores"], by_hand, atol=1e-5)
    (shard,) = load_shards([crops / "0000.npz"], clips, 0.5)
    assert "followed" not in shard


def test_a_tutor_says_the_same_of_a_crop_whatever_else_it_hears() -> None:
    pytest.importorskip("openvino")
    from tutor import Tutor

    torch.manual_seed(0)
    features = 3 + 2 * torch.randn(6, 10)
    tutor = Tutor(features.mean(0), features.std(0), width=7, dim=5).eval()
    embedded = tutor(features)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(tutor(features[2:3]), embedded[2:3])
    stretched = Tutor(10 * features.mean(0), 10 * features.std(0), width=7, dim=5).eval()
    stretched.load_state_dict(
        {**tutor.state_dict(), "mean": stretched.mean, "deviation": stretched.deviation}
    )
    torch.testing.assert_close(stretched(10 * features), embedded)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.5, [27_562]), (2.0, [55_125]), (11.0, [110_250] * 3), (90.0, [110_250] * 6)],
)
def test_a_held_out_clip_is_heard_in_the_models_windows(
    seconds: float, expected: list[int]
) -> None:
    pytest.importorskip("soxr")
    from heard import windows_of

    sound = np.arange(int(22_050 * seconds))
    windows = windows_of(sound)
    assert [len(window) for window in windows] == expected
    np.testing.assert_array_equal(windows[0][:10_000], sound[:10_000])
    if 5 < seconds < 60:  # the last ends where the sound does
        assert windows[-1][-1] == sound[-1]


def test_what_teachers_hear_is_gathered_crop_by_crop() -> None:
    from generate import heard_in, stacked

    class Yamnet:
        def hear(self, patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            assert len(patch) == 15_600
            return np.full(521, patch.mean()), np.full(1024, patch[0])

    class MobileNet:
        def hear(self, samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
            return np.full(521, len(samples) / rate), np.zeros(384)

    rising = np.linspace(0, 1, 110_250, dtype=np.float32)
    short = heard_in(np.ones(20_000, np.float32), Yamnet(), MobileNet())  # type: ignore[arg-type]
    long = heard_in(rising, Yamnet(), MobileNet())  # type: ignore[arg-type]
    both = stacked([short, long])
    assert both["tagged"].dtype == np.float16
    np.testing.assert_allclose(both["tagged"][:, 0], [20_000 / 22_050, 5.0], atol=1e-3)
    np.testing.assert_allclose(both["mean"][:, 0], [1, 0.5], atol=0.02)
    assert both["most"][1, 0] > 0.85  # the last patch
    assert both["middle"].shape == (2, 1024)


def test_a_sound_is_looked_for_in_each_root(tmp_path: Path) -> None:
    from split import locate

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "second" / "a.ogg").touch()
    roots = [tmp_path / "first", tmp_path / "second"]
    assert locate("a.ogg", roots) == tmp_path / "second" / "a.ogg"
    (tmp_path / "first" / "a.ogg").touch()
    assert locate("a.ogg", roots) == tmp_path / "first" / "a.ogg"
    with pytest.raises(SystemExit, match=r"b\.ogg: in none of the roots"):
        locate("b.ogg", roots)


def test_a_second_network_says_nothing_until_it_has_learnt(small_bert: nn.Module):
    from text_bank import make_model, with_resnet

    torch.manual_seed(0)
    model = make_model(small_bert, inner=(8, 16, 16, 16)).eval()
    for part in (model.audio_projection.fc2, model.audio_projection.norm):
        torch.nn.init.normal_(part.weight, std=0.1)
    torch.nn.init.normal_(model.audio.frequency, std=1e4)  # so that norms divide by what is heard
    wider = with_resnet(small_bert, model.state_dict()).eval()
    assert wider.audio.dim == 2 * model.audio.dim
    heard = torch.randn(3, 54, 72) * 10 - 40
    with torch.no_grad():
        torch.testing.assert_close(wider.embed_audio(heard), model.embed_audio(heard))
        assert wider.audio(heard).shape == (3, 2048)
        assert wider.audio.resnet.moments(heard).shape == (3, 4, 512)
    wider.audio_projection(wider.audio(heard)).square().mean().backward()
    its_own, of_projection = (
        part.weight.grad.abs().max()
        for part in (wider.audio.resnet.flat, wider.audio_projection.linear)
    )
    assert its_own < 1e-3 * of_projection  # through the norm of both alone
    assert wider.audio_projection.linear.weight.grad[:, 1024:].any()  # but it may learn to


def test_the_second_network_hears_no_gain_and_short_sounds():
    from wavtext.training.compact import ResNetEncoder

    torch.manual_seed(0)
    network = ResNetEncoder().eval()
    heard = torch.randn(2, 54, 72) * 10 - 40
    with torch.no_grad():
        torch.testing.assert_close(network(heard), network(heard + 12.0), rtol=1e-3, atol=1e-4)
        assert network(heard[:, :1]).shape == (2, network.dim)


def test_a_block_without_gates_begins_as_what_it_hears():
    from wavtext.training.compact_layers import ResidualBlock

    x = torch.randn(2, 8, 5, 6)
    for gate in (0, 4):
        assert torch.equal(ResidualBlock(8, gate)(x), x.relu())
