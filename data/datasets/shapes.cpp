#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "data/datasets/formats.h"
#include "data/streams.h"

namespace vitrine::data {
namespace {

constexpr int kSide = 32;
constexpr int64_t kTrain = 10'000, kTest = 2'000;

// A shape is a set of points (u, v) in units of R, its radius; the corners of squares lie at 1.13 R. No operand is
// skipped
// (& and not &&), so that the compiler can test several points at once. 32 bits hold all products: see Pose.
constexpr int R = 1024;

bool in_disc(int u, int v, int radius) { return u * u + v * v <= radius * radius; }
bool in_box(int u, int v, int a, int b) { return (std::abs(u) <= a) & (std::abs(v) <= b); }

bool circle(int u, int v) { return in_disc(u, v, R); }
bool square(int u, int v) { return in_box(u, v, R * 4 / 5, R * 4 / 5); }
// Equilateral, vertices at R: below the edges v = R - sqrt(3) |u|, above v = -R / 2.
bool triangle(int u, int v) { return (v >= -R / 2) & (v <= R - std::abs(u) * 1774 / 1024); }
bool cross(int u, int v) { return in_box(u, v, R, R * 3 / 10) | in_box(u, v, R * 3 / 10, R); }
bool ring(int u, int v) { return in_disc(u, v, R) & !in_disc(u, v, R * 3 / 5); }
bool frame(int u, int v) { return square(u, v) & !in_box(u, v, R * 9 / 20, R * 9 / 20); }
// The five lines of a pentagram lie at R cos(72 degrees) from its centre; the star is what at most one of them cuts
// off.
bool star(int u, int v) {
  constexpr int d = 316 * R;
  return (-1024 * v <= d) + (974 * u - 316 * v <= d) + (602 * u + 828 * v <= d) + (-602 * u + 828 * v <= d) +
             (-974 * u - 316 * v <= d) >=
         4;
}
bool crescent(int u, int v) { return in_disc(u, v, R) & !in_disc(u - R / 2, v, R * 4 / 5); }
bool bar(int u, int v) { return in_box(u, v, R, R * 3 / 10); }
bool pair(int u, int v) { return in_disc(std::abs(u) - R * 3 / 5, v, R * 2 / 5); }

constexpr int kPixel = 256;  // places and radii are in 1/256 of a pixel
constexpr int kUnit = 16;    // u = (cosine dx + sine dy) / 2^16
constexpr int kMinRadius = 9 * kPixel, kMaxRadius = 13 * kPixel, kMaxShift = 4 * kPixel;
constexpr int kMaxTurn = 48;  // tangent of half the angle, in 1/256

/// Where a shape lies. |cosine|, |sine| <= 2^16 R / kMinRadius < 2^16 and |dx|, |dy| < 32 kPixel = 2^13, so
/// cosine dx + sine dy < 2^31, and |u|, |v| < 2^14.
struct Pose {
  int x, y, cosine, sine;
};

/// How many of four points in each pixel belong to the shape.
template <bool (*contains)(int u, int v)>
void cover(const Pose& pose, uint8_t* covered) {
  for (int y = 0; y < kSide; ++y)
    for (int x = 0; x < kSide; ++x) {
      int count = 0;
      for (int point = 0; point < 4; ++point) {
        const int dx = x * kPixel + (point & 1 ? 192 : 64) - pose.x, dy = y * kPixel + (point & 2 ? 192 : 64) - pose.y;
        count += contains((pose.cosine * dx + pose.sine * dy) >> kUnit, (pose.cosine * dy - pose.sine * dx) >> kUnit);
      }
      covered[y * kSide + x] = uint8_t(count);
    }
}

struct Class {
  const char* name;
  void (*cover)(const Pose& pose, uint8_t* covered);
};
constexpr Class kClasses[] = {{"circle", cover<circle>}, {"square", cover<square>},     {"triangle", cover<triangle>},
                              {"cross", cover<cross>},   {"ring", cover<ring>},         {"frame", cover<frame>},
                              {"star", cover<star>},     {"crescent", cover<crescent>}, {"bar", cover<bar>},
                              {"pair", cover<pair>}};
constexpr int64_t kCount = std::size(kClasses);

/// Random numbers of one image: a block of words for its features, then words for the noise.
struct Words {
  RandomDraw draw;
  uint64_t block;
  int at = 4;
  Philox words = Philox(0, 0, 0);

  Words(RandomDraw d, int64_t image) : draw(d), block(uint64_t(image) << 10) {}
  uint32_t next() {
    if (at == 4) words = Philox(draw.seed, draw.offset, block++), at = 0;
    return words.word[at++];
  }
  int between(int low, int high) { return low + int(below(next(), high - low + 1)); }
};

class Shapes final : public Dataset {
 public:
  Shapes(Split split, uint64_t seed) : split_(split), seed_(seed) {
    for (const Class& c : kClasses) labels_.emplace_back(c.name);
    preprocessing_ = {.height = kSide, .width = kSide, .mean = {0.5, 0.5, 0.5}, .std = {0.25, 0.25, 0.25}};
  }

  int64_t size() const override { return split_ == Split::train ? kTrain : kTest; }
  const std::vector<std::string>& labels() const override { return labels_; }
  const Preprocessing& preprocessing() const override { return preprocessing_; }
  int64_t label(int64_t i) const override { return i % kCount; }
  Image image(int64_t i) const override;
  std::string description() const override {
    return format("shapes {}: {} drawn colour images of {} x {}, {} classes, seed {}", split_, size(), kSide, kSide,
                  kCount, seed_);
  }

 private:
  Split split_;
  uint64_t seed_;
  std::vector<std::string> labels_;
  Preprocessing preprocessing_;
};

/// Near the centre, turned by up to 21 degrees. A small vision transformer learns it in a minute; with any angle and
/// any place it needs many times that.
Pose random_pose(Words& words) {
  const int radius = words.between(kMinRadius, kMaxRadius), centre = kSide * kPixel / 2;
  const int play = std::min(kMaxShift, centre - radius);  // the disc of the radius lies inside the image
  Pose pose = {};
  pose.x = centre + words.between(-play, play), pose.y = centre + words.between(-play, play);
  // A direction without a sine: (1 - t^2, 2 t) / (1 + t^2), where t is the tangent of half the angle.
  const int64_t t = words.between(-kMaxTurn, kMaxTurn), one = kPixel;
  const int64_t length = int64_t(R) << kUnit, norm = (one * one + t * t) * radius;
  pose.cosine = int(length * (one * one - t * t) / norm), pose.sine = int(length * (2 * one * t) / norm);
  return pose;
}

Image Shapes::image(int64_t i) const {
  Words words(draw_of(Stream::shapes, seed_, uint64_t(split_)), i);
  const Pose pose = random_pose(words);
  // The shape is lighter or darker than its ground by at least 80 in every channel.
  int ground[3], ink[3];
  const bool lighter = words.between(0, 1) == 1;
  for (int c = 0; c < 3; ++c) {
    const int dark = words.between(20, 110), light = words.between(dark + 80, 235);
    ground[c] = lighter ? dark : light, ink[c] = lighter ? light : dark;
  }
  uint8_t covered[kSide * kSide];
  kClasses[label(i)].cover(pose, covered);
  Image out{kSide, kSide, 3, std::vector<uint8_t>(3 * kSide * kSide)};
  for (int at = 0; at < kSide * kSide; ++at) {
    const uint32_t noise = words.next();  // a byte per channel
    for (int c = 0; c < 3; ++c) {
      const int clean = (ground[c] * (4 - covered[at]) + ink[c] * covered[at]) / 4;
      out.pixels[size_t(3 * at + c)] = uint8_t(std::clamp(clean + int(noise >> 8 * c & 0x3f) - 32, 0, 255));
    }
  }
  return out;
}

}  // namespace

std::unique_ptr<Dataset> make_shapes(Split split, uint64_t seed) { return std::make_unique<Shapes>(split, seed); }

}  // namespace vitrine::data
