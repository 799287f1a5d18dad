"""Makes detect_vectors.h: what OpenCV finds in a small picture (engine/io/image_detect.c).

usage: detect_vectors.py > detect_vectors.h      (needs numpy and opencv-python-headless)

A row is a string, '#' for white. The picture is picture() here and in detect_test.c."""

import cv2
import numpy as np

W, H = 56, 40


def picture():
    out = np.zeros((H, W, 3), np.uint8)
    for y in range(H):
        for x in range(W):
            ring = 40 <= (x - 20) ** 2 + (y - 18) ** 2 <= 120
            bar = 34 <= x < 38 or (x + 2 * y) % 31 < 2
            for c in range(3):
                v = 200 - 150 * ring - (90 + 20 * c) * bar
                out[y, x, c] = np.clip(v + (x * 31 + y * 17 + c * 7) % 23, 0, 255)
    return out


def scribble(image, threshold):
    fine = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.5)
    wide = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 5.0)
    left = (255 - np.min(wide - fine, axis=2)).clip(0, 255).astype(np.uint8)
    return np.where(2 * (255 - left.astype(int)) > threshold, 255, 0).astype(np.uint8)


def main():
    image = picture()
    found = {
        "canny_100_200": cv2.Canny(image, 100, 200),
        "canny_300_500": cv2.Canny(image, 300, 500),
        "scribble_32": scribble(image, 32),
        "scribble_120": scribble(image, 120),
    }
    print("/* Made by detect_vectors.py. */")
    print(f"enum {{ DETECT_W = {W}, DETECT_H = {H} }};\n")
    for name, rows in found.items():
        print(f"static const char *const {name}[DETECT_H] = {{")
        for row in rows:
            print('    "' + "".join("#" if v else "." for v in row) + '",')
        print("};\n")


if __name__ == "__main__":
    main()
