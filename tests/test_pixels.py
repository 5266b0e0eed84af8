"""pixels.py: value ranges, luma, bicubic resizing and crops."""

import numpy as np
import pytest

from srgan_tf import UserError, pixels

Y, X, C = np.mgrid[0:48, 0:40, 0:3]
IMAGE = ((7 * X + 13 * Y + 29 * C + (X * Y) // 5) % 256).astype(np.uint8)  # of goldens


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.uint16])
def test_every_value_comes_back_from_the_network_range(dtype):
    deep = dtype is np.uint16
    expected = np.arange(65536 if deep else 256).astype(dtype)
    values = pixels.to_network_range(expected)
    assert values.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_allclose(values[[0, -1]], [-1, 1], atol=1e-6)
    back = pixels.to_uint16(values) if deep else pixels.to_uint8(values)
    np.testing.assert_array_equal(back, expected)
    values = pixels.to_network_range(expected, (0, 1))
    np.testing.assert_allclose(values, expected / expected.max(), atol=1e-6)


def test_numbers_by_hand():
    assert pixels.to_network_range(np.float32(51)) == pytest.approx(-0.6)
    assert pixels.to_pixels(0.0) == 127.5
    assert pixels.to_pixels(1.2) == pytest.approx(280.5)  # not clipped
    values = np.float32([-1.2, -1, -0.997, -0.995, 0.5, 1, 1.2])
    assert pixels.to_uint8(values).tolist() == [0, 0, 0, 1, 191, 255, 255]
    assert pixels.to_uint16(values[[0, -1]]).tolist() == [0, 65535]
    # Exactly 126.535 of 255; in float16 arithmetic it would be 126.5, and round to 126.
    assert pixels.to_uint8(np.float16([-0.00757])).tolist() == [127]


def test_luma_of_pure_colours():
    colours = [[255] * 3, [0] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    found = pixels.luma(np.array(colours, np.uint8))
    np.testing.assert_allclose(found, [235, 16, 81.481, 144.553, 40.966], atol=1e-9)
    assert found.dtype == np.float64


def test_bicubic_down_is_antialiased():
    """MATLAB's kernel, stretched 4 times, on a step, worked out in plain sums."""
    row = np.zeros(64)
    row[32:] = 200
    expected = []
    for centre in 4 * np.arange(16) + 1.5:
        distance = np.abs(np.arange(64) - centre) / 4
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weights = np.where(distance < 1, near, np.where(distance < 2, far, 0))
        expected.append(np.sum(weights * row) / np.sum(weights))
    expected = np.clip(expected, 0, 255)
    image = np.zeros((64, 64, 3), np.uint8) + row[None, :, None].astype(np.uint8)
    lr = pixels.bicubic_down(image)
    assert np.abs(lr[8, :, 1] - expected).max() <= 0.51
    assert np.ptp(lr, axis=0).max() == 0


def test_bicubic_of_16_bits_agrees_with_8():
    deep = pixels.bicubic_down(IMAGE.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - pixels.bicubic_down(IMAGE)).max() <= 1.01
    assert pixels.bicubic_up(deep[..., 0]).shape == (48, 40)
    up = pixels.bicubic_up(np.uint16([[0, 0, 65535, 65535]]))[0].astype(int)
    assert up[0] == 0 and up[-1] == 65535 and np.diff(up).min() > -10_000  # no wrapping


def test_crops_and_sizes_that_do_not_fit():
    with pytest.raises(UserError, match="40x46"):
        pixels.bicubic_down(IMAGE[:46])
    image = IMAGE[:11, :9]
    np.testing.assert_array_equal(pixels.crop_to_multiple(image), image[:8, :8])
    np.testing.assert_array_equal(pixels.center_crop(image, 5), image[3:8, 2:7])
    np.testing.assert_array_equal(pixels.center_crop(image, (3, 9)), image[4:7])
    with pytest.raises(UserError, match="9x11 is smaller than 10x10"):
        pixels.center_crop(image, 10)
