#pragma once
#include "data/image/image.h"

namespace vitrine::data {

/// Blurs with a Gaussian of standard deviation `radius`, as Pillow approximates it, bit for bit: three means over 2 r +
/// 1 pixels along the rows, then three along the columns, each rounded to 8 bits; pixels outside are those of the
/// border. r need not be whole, the two outermost pixels count in part; it is chosen so that three such means have the
/// variance radius^2 (Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box filtering",
/// 2011).
/// @param radius  in [0, 1000]; 0 changes nothing
/// @throws ValueError if the image is none or the radius outside
void gaussian_blur(Image& image, double radius);

}  // namespace vitrine::data
