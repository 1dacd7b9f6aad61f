#include "apps/classifier/image_input.h"

namespace vitrine::apps {

Tensor image_input(const data::Image& image, const data::Preprocessing& p) {
  Tensor x = empty({1, 3, p.height, p.width});
  data::to_planes(data::evaluation_image(image, p), data::PixelTable(p), x.mutable_data<float>());
  return x;
}

}  // namespace vitrine::apps
