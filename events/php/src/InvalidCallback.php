<?php

declare(strict_types=1);

namespace Errands;

/** The signature is right, but the body is not the outcome of a job: answer 400. */
final class InvalidCallback extends Exception
{
}
